"""The clean-up before BM25: what a person types must meet what a document holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.index.sparse import NAME_WEIGHT, SPARSE_FINGERPRINT, SparseEncoder, normalise

ENCODER = SparseEncoder()


@pytest.mark.parametrize(
    ("document", "question"),
    [
        ("It\u00a0is\u00a0agreed\u00a0that", "agreed"),  # no-break spaces, as PDFs have them
        ("signed in 2020", "2020"),
        ("see section 10.13 below", "10.13"),
        ("a fee of $1,200 a month", "1200"),
        ("WomensGolfUnlimited_ENDORSEMENT-AGREEMENT.pdf", "womens golf"),
        ("MCDONALD", "McDonald"),
        ("McDonald", "mcdonald"),
        ("certified to ISO9001", "ISO 9001"),
        ("certified to ISO 9001", "ISO9001"),
        ("termi\u00adnation", "termination"),
        ("ﬁnal payment", "final"),
        ("agreements", "agreement"),
        ("Ａ社との契約 ２０２０", "2020"),
        ("عام ٢٠٢٠", "2020"),
        ("ДоговорАренды", "договор"),
    ],
)
def test_word_of_the_question_meets_word_of_the_document(document: str, question: str) -> None:
    assert set(ENCODER.query(question).indices) & set(ENCODER.document(document).indices)


def test_dotted_number_weighs_more_than_its_parts_alone() -> None:
    asked = set(ENCODER.query("10.13").indices)
    assert len(asked & set(ENCODER.document("clause 10.13").indices)) == 3
    assert len(asked & set(ENCODER.document("clause 13.10").indices)) == 2


def test_chinese_sentence_is_more_than_one_word() -> None:
    assert len(ENCODER.document("这是一个关于合同的句子。").indices) > 3


def test_query_terms_weigh_one_and_stop_words_nothing() -> None:
    assert set(ENCODER.query("fees fees fees notice").values) == {1.0}
    assert ENCODER.query("the of and").indices == ()
    assert ENCODER.query("  ?! ").indices == ()


def test_repetition_saturates_and_length_dampens() -> None:
    once, often = ENCODER.document("rent").values[0], ENCODER.document("rent " * 20).values[0]
    assert once < often < 1.9 + 1e-6  # bounded by k + 1
    (rent,) = ENCODER.query("rent").indices
    long = ENCODER.document("rent " + " ".join(f"word{n}" for n in range(400)))
    assert dict(zip(long.indices, long.values, strict=True))[rent] < once


def test_name_weighs_the_same_in_every_passage_however_often_it_is_repeated() -> None:
    # GIVEN passages of one document, short and long, with and without the words of its name
    texts = ("Rent is due.", "Harbour Lease. The harbour lease, Harbour Lease.", "word " * 300)
    passages = [_weights(text, name="Harbour Lease") for text in texts]
    # THEN the name's words say the same of each, and the passage's own words are as they are without a name
    for passage in passages:
        assert {passage[i] for i in ENCODER.query("harbour lease").indices} == {NAME_WEIGHT}
    (rent,) = ENCODER.query("rent").indices
    assert passages[0][rent] == _weights("Rent is due.")[rent]


def test_name_weighs_a_little_more_in_the_opening_passage() -> None:
    later, opening = (_weights("Rent is due.", name="Harbour", opening=o) for o in (False, True))
    (name,) = ENCODER.query("harbour").indices
    assert later[name] < opening[name] < later[name] * 1.25
    assert {i: w for i, w in later.items() if i != name} == {i: w for i, w in opening.items() if i != name}


def test_opening_without_a_name_is_a_passage_like_another() -> None:
    assert _weights("Rent is due.", opening=True) == _weights("Rent is due.")


def _weights(text: str, *, name: str = "", opening: bool = False) -> dict[int, float]:
    terms = ENCODER.document(text, name=name, opening=opening)
    return dict(zip(terms.indices, terms.values, strict=True))


def test_fingerprint_is_pinned() -> None:
    """Changing terms or weights makes stored points useless: change the fingerprint and these ids together."""
    assert SPARSE_FINGERPRINT == "bm25-multilingual-v2:k=0.9:b=0.6:len=256:name=1.5:opening=1.13"
    assert normalise("Section 10.13 of WomensGolf_1") == "Section zqcb . zqcf of Womens Golf WomensGolf zqc zqcbxcf"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_text_encodes(text: str) -> None:
    document, query = ENCODER.document(text), ENCODER.query(text)
    assert len(document.indices) == len(document.values) == len(set(document.indices))
    assert set(document.indices) == set(query.indices)
    assert all(value > 0 for value in document.values)
