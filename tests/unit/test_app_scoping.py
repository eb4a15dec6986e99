"""Which documents a question is about: names are compared with readable documents only, and filters only narrow."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index.filters import access_conditions
from strongroom.access import AccessFilter
from strongroom.app.scoping import described, mentioned, mentions, named, narrowed, without_marks
from strongroom.errors import NotFoundError, UsageError
from strongroom.types import DocumentInfo, DocumentState, Scope

ACCESS = AccessFilter(frozenset({"user:1"}))


def info(
    id: str,
    name: str,
    *,
    day: int = 1,
    path: str = "",
    mime: str = "application/pdf",
    personal: dict[str, int] | None = None,
) -> DocumentInfo:
    when = datetime(2026, 3, day, 12, tzinfo=UTC)
    where = path or f"file:///docs/{name}"
    facts = ("default", DocumentState.INDEXED, mime, 1, 1, 1, None, when, when, "v", None, personal)
    return DocumentInfo(id, name, where, *facts)  # type: ignore[arg-type]


DOCUMENTS = [
    info("a" * 36, "Lease 2024.pdf", day=1, personal={"iban": 2, "name": 1}),
    info("b" * 36, "lease-2025.pdf", day=5, personal={}),
    info("c" * 36, "tariff notice.html", day=9, mime="text/html"),
    info("d" * 36, "tariff notice.html", day=9, path="file:///old/tariff notice.html", mime="text/html"),
    info("e" * 36, "supply.docx", day=20, mime="application/msword"),
]


def ids(access: AccessFilter) -> str:
    return "".join(sorted(i[0] for i in access.documents or ()))


def within(**scope: object) -> AccessFilter:
    return narrowed(ACCESS, Scope(**scope), lambda: DOCUMENTS)  # type: ignore[arg-type]


def test_mentions_are_words_behind_a_mark_and_numbers_of_things_are_none() -> None:
    assert mentions('What do #lease-2025, #"tariff notice.html" and #supply.docx say?') == [
        "lease-2025",
        "tariff notice.html",
        "supply.docx",
    ]
    assert mentions("Is C#a language? Item # 5, page#6 and a # alone") == []
    assert without_marks('See #"tariff notice.html".') == "See tariff notice.html."


def test_a_name_is_taken_as_exactly_as_it_can_be() -> None:
    assert [d.id[0] for d in named("lease 2024", DOCUMENTS)] == ["a"]
    assert [d.id[0] for d in named("LEASE-2025.PDF", DOCUMENTS)] == ["b"]
    assert [d.id[0] for d in named("lease", DOCUMENTS)] == ["a", "b"]
    assert [d.id[0] for d in named("old/tariff notice.html", DOCUMENTS)] == ["d"]
    assert [d.id[0] for d in named("suppl", DOCUMENTS)] == ["e"]
    assert named("5", DOCUMENTS) == named("xy", DOCUMENTS) == []


def test_scopes_narrow_by_name_day_and_type() -> None:
    assert ids(within(documents=("lease 2024", "supply"))) == "ae"
    assert ids(within(since=date(2026, 3, 5))) == "bcde"
    assert ids(within(since=date(2026, 3, 5), until=date(2026, 3, 9))) == "bcd"
    assert ids(within(types=("pdf", ".DOCX"))) == "abe"
    assert ids(within(types=("text/html",), until=date(2026, 3, 1))) == ""
    assert within() is ACCESS
    assert access_conditions(within(types=("odt",))) is None  # nothing is searched, not everything


def test_a_name_without_a_document_and_one_of_several_are_refused() -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        within(documents=("nowhere",))
    with pytest.raises(UsageError, match="names 2 documents") as caught:
        within(documents=("lease",))
    assert "lease-2025.pdf" in str(caught.value.hint)


def test_a_mention_narrows_an_ambiguous_one_is_asked_back_and_other_words_change_nothing() -> None:
    access, back = mentioned(ACCESS, ["What does #lease-2025 say?"], lambda: DOCUMENTS)
    assert (ids(access), back) == ("b", None)
    access, back = mentioned(ACCESS, ["What does #lease say?"], lambda: DOCUMENTS)
    assert access == ACCESS
    assert back is not None
    assert back.options == ("Lease 2024.pdf", "lease-2025.pdf")
    _, back = mentioned(ACCESS, ['And #"tariff notice.html"?'], lambda: DOCUMENTS)
    assert back is not None
    assert len(set(back.options)) == 2  # told apart by their paths
    _, back = mentioned(ACCESS, ["What is in #secret.pdf?"], lambda: DOCUMENTS)
    assert back is not None
    assert back.options == ()
    assert mentioned(ACCESS, ["Who is #metoo about?"], lambda: DOCUMENTS) == (ACCESS, None)


@given(
    st.sets(st.sampled_from([d.id for d in DOCUMENTS])),
    st.builds(
        Scope,
        since=st.none() | st.dates(date(2026, 2, 25), date(2026, 3, 25)),
        until=st.none() | st.dates(date(2026, 2, 25), date(2026, 3, 25)),
        types=st.lists(st.sampled_from(["pdf", "html", "docx", "odt"]), max_size=2).map(tuple),
    ),
)
def test_no_scope_ever_widens_a_filter(held: set[str], scope: Scope) -> None:
    before = AccessFilter(frozenset({"user:1"}), documents=frozenset(held))
    after = narrowed(before, scope, lambda: DOCUMENTS)
    assert after.documents is not None
    assert after.documents <= held
    assert after.principals == before.principals


def test_what_was_searched_is_said_in_words() -> None:
    assert described(None, Scope()) == "the documents that you may read"
    scope = Scope(documents=("lease",), types=("pdf",), since=date(2026, 1, 1))
    assert described("contracts", scope) == "the documents in “contracts” named lease of type pdf since 2026-01-01"


def test_a_kind_of_personal_data_narrows_to_where_it_was_found() -> None:
    assert ids(within(personal=("iban",))) == "a"
    assert ids(within(personal=("any",))) == "a"
    assert ids(within(personal=("card", "name"))) == "a"
    assert ids(within(personal=("card",))) == ids(within(personal=("iban",), types=("html",))) == ""
    assert described(None, Scope(personal=("iban",))).endswith("with personal data (iban)")
