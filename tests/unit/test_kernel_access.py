"""The access filter: what it lets through, and that no search goes without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from strongroom.access import NOBODY, AccessFilter

REPOSITORY = Path(__file__).parents[2]

SNIPPET = """
from strongroom.access import AccessFilter
from strongroom.ports import IndexQuery, VectorIndex
from retrieval.search import Release, Searcher


def with_filter(index: VectorIndex, query: IndexQuery, searcher: Searcher, access: AccessFilter) -> None:
    index.search(query, access, 10)
    searcher.search("a question", access=access, k=3)


def without(index: VectorIndex, query: IndexQuery, searcher: Searcher, release: Release) -> None:
    index.search(query, 10)  # 1
    index.search(query, None, 10)  # 2
    index.search(query, "user:ada", 10)  # 3
    searcher.search("a question", k=3)  # 4
    searcher.search("a question", access=None, k=3)  # 5
    release(["chunk"])  # 6
    release(["chunk"], None)  # 7
"""


def f(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_some_principal_must_be_allowed_and_none_denied_or_beyond_a_wall() -> None:
    ada = AccessFilter(f("user:ada", "group:red"), barred=f("group:blue"))
    assert ada.may_read(f("group:red"), f())
    assert not ada.may_read(f(), f())
    assert not ada.may_read(f("group:green"), f())
    assert not ada.may_read(f("group:red", "user:ada"), f("user:ada"))
    assert not ada.may_read(f("group:red", "group:blue"), f())
    assert not ada.may_read(f("user:ada", "group:blue"), f())
    assert not NOBODY.may_read(f("user:ada"), f())


def test_a_query_without_an_access_filter_does_not_type_check(tmp_path: Path) -> None:
    # GIVEN code that searches and releases with a filter, and without
    path = tmp_path / "snippet.py"
    path.write_text(SNIPPET)
    # WHEN it is checked as this project is
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "--cache-dir"]
    command += [str(REPOSITORY / ".mypy_cache"), "--config-file", str(REPOSITORY / "pyproject.toml"), str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    # THEN each call without one is an error, and no other line is
    lines = SNIPPET.splitlines()
    wrong = {int(line.split(":")[1]) for line in done.stdout.splitlines() if "error:" in line}
    assert wrong == {n for n, line in enumerate(lines, 1) if line.rstrip()[-3:-1] == "# "}, done.stdout
