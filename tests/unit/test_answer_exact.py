"""When several answers are given instead of one."""

from __future__ import annotations

import pytest

from retrieval.exact import wants_list


@pytest.mark.parametrize(
    ("question", "several"),
    [
        ("Who are the parties?", True),
        ("List all governing laws of the contracts.", True),
        ("Compare the notice periods of both leases.", True),
        ("What are the termination fees?", True),
        ("What were total net sales for the three months ended April 1, 2023?", False),
        ("What are the operating expenses in 2023?", False),
        ("When does it end?", False),
    ],
)
def test_a_list_is_told_from_a_figure_with_a_plural_name(question: str, several: bool) -> None:
    assert wants_list(question) is several
