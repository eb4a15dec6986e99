"""Question files with every kind of mistake in them, and small folders in the form of the public sets."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from evals import datasets
from evals.questions import Question, QuestionSet, read_questions, write_questions
from strongroom.errors import UsageError
from strongroom.types import DocumentRef

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def test_json_lines_and_csv_say_the_same(tmp_path: Path) -> None:
    lines = write(
        tmp_path / "q.jsonl",
        {"id": "a", "question": "When?", "document": "x.pdf", "pages": [2, 3], "answers": ["May", "31 May"]},
        {"id": "b", "question": "Who?", "unanswerable": True},
    )
    table = write(
        tmp_path / "q.csv",
        'ID;Question;Document;Page;Answer;Unanswerable\na;When?;x.pdf;"2,3";May | 31 May;no\nb;Who?;;;;yes\n\n',
    )
    assert read_questions(lines).questions == read_questions(table).questions
    first = read_questions(lines).questions[0]
    assert (first.pages, first.answers, first.cluster) == ((2, 3), ("May", "31 May"), "x.pdf")


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bad.jsonl",
        "{not json\n",
        {"question": "  ", "answers": ["x"]},
        "\n",
        {"question": "ok", "answers": ["x"], "id": "one"},
        {"question": "twice", "answers": ["x"], "id": "one"},
        {"question": "typo", "anwsers": ["x"]},
        {"question": "both", "answers": ["x"], "unanswerable": True},
        {"question": "nothing known"},
        {"question": "pages of what", "answers": ["x"], "pages": [1]},
        {"question": "page zero", "document": "d", "pages": [0]},
        {"question": "pages", "document": "d", "pages": "two"},
        {"question": "flag", "unanswerable": "perhaps"},
        {"question": "answers", "answers": {"text": "x"}},
        "[1]\n",
    )
    with pytest.raises(UsageError) as raised:
        read_questions(path)
    said = str(raised.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in said] == [
        f"line {n}" for n in (1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
    ]
    assert "column 2" in said[0]
    assert "'one' stands on line 4 already" in said[2]
    assert "unknown field 'anwsers'" in said[3]


def test_csv_mistakes_count_lines_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "q.csv", 'question,answer\n"Two\nlines?",x\nthree,x,extra\n,x\n')
    with pytest.raises(UsageError) as raised:
        read_questions(path)
    assert [line.split(":")[0].strip() for line in str(raised.value).splitlines()[1:]] == ["line 4", "line 5"]


def test_a_long_list_of_mistakes_is_cut(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="and 10 more"):
        read_questions(write(tmp_path / "q.jsonl", *[{"question": ""} for _ in range(30)]))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\n\n"])
def test_what_is_no_question_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read_questions(path)


def test_written_questions_are_read_back_and_private(tmp_path: Path) -> None:
    kept = read_questions(SAMPLES / "questions.jsonl").questions
    write_questions(tmp_path / "again.jsonl", kept)
    assert read_questions(tmp_path / "again.jsonl").questions == kept
    assert stat.S_IMODE((tmp_path / "again.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("named", "number"), [("a.pdf", 0), ("2025/a.pdf", 0), ("b.pdf", None), ("5/a.pdf", None), ("old/a.pdf", None)]
)
def test_a_document_is_named_by_its_name_or_the_end_of_its_path(named: str, number: int | None) -> None:
    document = DocumentRef("id", "a.pdf", "file:///archive/2025/a.pdf")
    assert Question("q", "?", documents=(named,)).is_about(document) == number


def test_a_sample_is_even_repeatable_and_in_order() -> None:
    asked = QuestionSet("s", tuple(Question(f"q{i}", "?", kind="rare" if i == 90 else "common") for i in range(100)))
    small = asked.sample(10)
    assert small.questions == asked.sample(10).questions
    assert len(small.questions) == 10
    assert [q.id for q in small.questions if q.kind == "rare"] == ["q90"]
    assert [int(q.id[1:]) for q in small.questions] == sorted(int(q.id[1:]) for q in small.questions)
    assert asked.sample(None) is asked


def test_the_digest_sees_gold_answers() -> None:
    one, other = (QuestionSet("s", (Question("q", "?", answers=(a,)),)) for a in ("x", "y"))
    assert one.digest() != other.digest()


# ------------------------------------------------------------------------------------------------ public sets


def squad(*questions: dict[str, object]) -> dict[str, object]:
    paragraph = {"context": "The bridge opened in 1901.", "qas": list(questions)}
    return {"data": [{"title": "Old_Bridge", "paragraphs": [paragraph]}]}


def test_squad_paragraphs_become_documents(tmp_path: Path) -> None:
    write(
        tmp_path / "dev_public.json",
        squad(
            {"id": "1", "question": "When?", "answers": [{"text": "1901"}, {"text": "1901"}], "is_impossible": False},
            {"id": "2", "question": "Who?", "answers": [], "is_impossible": True},
        ),
    )
    asked = datasets.load(tmp_path)
    assert asked.texts == {"Old Bridge 001.txt": "The bridge opened in 1901."}
    one, two = asked.questions
    assert (one.documents, one.answers, one.cluster) == (("Old Bridge 001.txt",), ("1901",), "Old Bridge")
    assert (two.unanswerable, two.documents, two.cluster) == (True, (), "Old Bridge")


def test_xquad_crosses_languages_by_id(tmp_path: Path) -> None:
    for language, text in (("en", "When?"), ("de", "Wann?")):
        qa = {"id": "1", "question": text, "answers": [{"text": language}]}
        write(tmp_path / f"xquad.{language}.json", squad(qa))
    crossed = datasets.load(tmp_path, language="de", document_language="en")
    assert [(q.text, q.answers) for q in crossed.questions] == [("Wann?", ("en",))]
    assert crossed.name == "xquad-de-en"
    assert datasets.load(tmp_path).name == "xquad-en"
    with pytest.raises(UsageError, match=r"no xquad\.fr\.json"):
        datasets.load(tmp_path, language="fr")


def test_cuad_asks_absent_clauses_in_the_same_words(tmp_path: Path) -> None:
    write(
        tmp_path / "queries.jsonl",
        {
            "id": "c1",
            "question": "In the Deal, what is the Parties?",
            "document": "d.pdf",
            "pages": [1],
            "spans": ["A"],
        },
        {"id": "c2", "question": "In the Deal, what is the Cap?", "document": "d.pdf", "pages": [2], "spans": ["B"]},
    )
    write(
        tmp_path / "items.jsonl",
        {"id": "i", "pdf": "d.pdf", "category": "Non-Compete", "answerable": False},
        {"id": "j", "pdf": "d.pdf", "category": "Cap", "answerable": True},
    )
    asked = datasets.load(tmp_path)
    assert [(q.kind, q.unanswerable) for q in asked.questions] == [
        ("cover page", False),
        ("clause", False),
        ("absent clause", True),
    ]
    assert asked.questions[2].text == "In the Deal, what is the Non-Compete?"
    assert asked.questions[1].gold == (("B",),)


def test_reports_take_their_documents_from_the_reviewed_answer(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("2022 Q3 ABC.pdf", "2023 Q1 ABC.pdf", "2023 Q1 XYZ.pdf"):
        (tmp_path / "docs" / name).write_bytes(b"")
    row = {"Question": "How much?", "Source Docs": "*ABC*", "Question Type": "Single-Doc"}
    write(
        tmp_path / "qna.jsonl",
        row | {"Answer": "It was 5. (SOURCE: 2023 Q1 ABC.pdf)\n\nSOURCE(S): 2023 Q1 ABC.pdf"},
        row | {"Answer": "It was 6."},
    )
    one, two = datasets.load(tmp_path).questions
    assert (one.documents, one.answers, one.gold) == (("2023 Q1 ABC.pdf",), ("It was 5.",), ())
    assert two.documents == ("2022 Q3 ABC.pdf", "2023 Q1 ABC.pdf")


def test_abstracts_become_documents(tmp_path: Path) -> None:
    row = {"QUESTION": "Does it?", "CONTEXTS": ["A.", "B."], "LABELS": ["AIM", "RESULT"], "final_decision": "yes"}
    write(tmp_path / "pqal_dev500.json", {"17": row})
    asked = datasets.load(tmp_path)
    assert asked.texts == {"17.txt": "Aim: A.\n\nResult: B."}
    assert asked.questions[0].documents == ("17.txt",)


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no question set"):
        datasets.load(tmp_path)
    with pytest.raises(UsageError, match="does not hold"):
        datasets.load(write(tmp_path / "x.json", {"data": [{"paragraphs": [{}]}]}))
    with pytest.raises(UsageError, match="xquad only"):
        datasets.load(tmp_path, language="de")
    with pytest.raises(UsageError, match="cannot read"):
        datasets.load(tmp_path / "missing.jsonl")
