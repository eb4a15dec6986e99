"""Public question sets in the form in which they are distributed, told apart by what a folder holds.

CUAD (Hendrycks et al. 2021), SQuAD 2.0 (Rajpurkar et al. 2018), XQuAD (Artetxe et al. 2020), PubMedQA (Jin et al. 2019)
and reviewed questions over SEC filings. Paragraphs and abstracts become documents of their own.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evals.questions import Question, QuestionSet, read_questions
from strongroom.errors import UsageError

# Labels of CUAD that stand on the first page of nearly every contract; always saying "page 1" finds them.
COVER = frozenset({"document name", "parties", "agreement date", "effective date"})
SETS = "cuad, squad2, xquad, pubmedqa, kg10q"


def load(source: Path, *, language: str | None = None, document_language: str | None = None) -> QuestionSet:
    """The question set at `source`: a folder of a known kind, a SQuAD-style JSON file, or an own question file.

    `language` picks XQuAD's questions, `document_language` its paragraphs. Raises `UsageError` for what is none of
    these, or for a language that is not there.
    """
    loader = next((loader for sign, loader in _SIGNS if source.is_dir() and (source / sign).exists()), None)
    if language or document_language:
        if loader is not None or not _xquad_file(source, "en").exists():
            raise UsageError("languages can be chosen for xquad only", hint="Leave `--language` out.")
        return _xquad(source, language or "en", document_language or language or "en")
    try:
        if loader is not None:
            return loader(source)
        if _xquad_file(source, "en").exists():
            return _xquad(source, "en", "en")
        if source.suffix == ".json":
            return _squad(source)
    except (KeyError, TypeError, ValueError) as exc:
        raise UsageError(f"{source} does not hold what its kind of set holds: {exc!r}", hint=f"Known: {SETS}.") from exc
    if source.is_dir():
        raise UsageError(f"{source} is no question set that is known here", hint=f"Known folders: {SETS}.")
    return read_questions(source)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield json.loads(line)


# ------------------------------------------------------------------------------------------------ contracts


def _cuad(folder: Path) -> QuestionSet:
    """Clauses that contracts hold, with pages, and clauses they do not hold, asked in the same words."""
    label_of = re.compile(r"what is the (.*)\?$")
    questions: list[Question] = []
    stems: dict[str, str] = {}
    for row in _rows(folder / "queries.jsonl"):
        label = label_of.search(row["question"])
        stems.setdefault(row["document"], label_of.sub("what is the ", row["question"]))
        cover = label is not None and label[1].casefold() in COVER
        questions.append(
            Question(
                id=row["id"],
                text=row["question"],
                documents=(row["document"],),
                pages=tuple(row["pages"]),
                answers=tuple(row["spans"]),
                evidence=tuple(row["spans"]),
                kind="cover page" if cover else "clause",
                cluster=row["document"],
            )
        )
    for item in _rows(folder / "items.jsonl"):
        if not item["answerable"] and item["pdf"] in stems:
            questions.append(
                Question(
                    id=f"absent-{item['id']}",
                    text=f"{stems[item['pdf']]}{item['category']}?",
                    unanswerable=True,
                    kind="absent clause",
                    cluster=item["pdf"],
                )
            )
    return QuestionSet("cuad", tuple(questions), files=(folder / "pdf",))


def _kg10q(folder: Path) -> QuestionSet:
    """Questions over quarterly reports; the documents are those that the reviewed answer names."""
    names = sorted(path.name for path in (folder / "docs").iterdir())
    questions = []
    for number, row in enumerate(_rows(folder / "qna.jsonl"), start=1):
        answer, _, sources = row["Answer"].partition("SOURCE(S):")
        named = tuple(name for name in names if name in sources or name.removesuffix(".pdf") in sources)
        # The column holds glob patterns, such as *AAPL*.
        patterns = [p.strip() for p in re.split(r"[,;]", row["Source Docs"]) if p.strip()]
        asked = tuple(name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns))
        questions.append(
            Question(
                id=f"kg10q-{number:03d}",
                text=row["Question"],
                documents=named or asked,
                answers=(re.sub(r"\(SOURCES?:[^)]*\)", "", answer).strip(),),
                kind=row["Question Type"],
                cluster=row["Source Docs"],
                quotable=False,
            )
        )
    return QuestionSet("kg10q", tuple(questions), files=(folder / "docs",))


# ------------------------------------------------------------------------------------------------ paragraphs


def _squad(source: Path) -> QuestionSet:
    """SQuAD 1 or 2: every paragraph is a document, named after its article."""
    path = source if source.suffix == ".json" else source / "dev_public.json"
    texts: dict[str, str] = {}
    questions: list[Question] = []
    for number, article in enumerate(json.loads(path.read_text(encoding="utf-8"))["data"]):
        title = re.sub(r"[_/\\]+", " ", article.get("title") or f"Article {number + 1}").strip()
        for place, paragraph in enumerate(article["paragraphs"], start=1):
            name = f"{title} {place:03d}.txt"
            texts[name] = paragraph["context"]
            questions += [_squad_question(qa, name, title) for qa in paragraph["qas"]]
    return QuestionSet(source.stem if source.suffix else source.name, tuple(questions), texts=texts)


def _squad_question(qa: dict[str, Any], document: str, cluster: str) -> Question:
    impossible = bool(qa.get("is_impossible"))
    return Question(
        id=qa["id"],
        text=qa["question"],
        documents=() if impossible else (document,),
        answers=() if impossible else tuple(dict.fromkeys(a["text"] for a in qa["answers"])),
        unanswerable=impossible,
        kind="near miss" if impossible else "answerable",
        cluster=cluster,
    )


def _xquad_file(folder: Path, language: str) -> Path:
    return folder / f"xquad.{language}.json"


def _xquad(folder: Path, language: str, document_language: str) -> QuestionSet:
    """Questions in one language over paragraphs in the same or another one; ids tie them together."""
    for wanted in (language, document_language):
        if not _xquad_file(folder, wanted).exists():
            there = ", ".join(sorted(p.name.split(".")[1] for p in folder.glob("xquad.*.json")))
            raise UsageError(f"there is no xquad.{wanted}.json in {folder}", hint=f"Languages there: {there}.")
    documents = _squad(_xquad_file(folder, document_language))
    name = f"xquad-{language}" if language == document_language else f"xquad-{language}-{document_language}"
    if language == document_language:
        return QuestionSet(name, documents.questions, texts=documents.texts)
    asked = {q.id: q.text for q in _squad(_xquad_file(folder, language)).questions}
    questions = tuple(
        Question(q.id, asked[q.id], q.documents, (), q.answers, kind=q.kind, cluster=q.cluster)
        for q in documents.questions
        if q.id in asked
    )
    return QuestionSet(name, questions, texts=documents.texts)


def _pubmedqa(folder: Path) -> QuestionSet:
    """Biomedical questions; the abstract without its conclusion is the document that answers."""
    texts: dict[str, str] = {}
    questions = []
    for key, row in json.loads((folder / "pqal_dev500.json").read_text(encoding="utf-8")).items():
        name = f"{key}.txt"
        parts = zip(row["LABELS"], row["CONTEXTS"], strict=True)
        texts[name] = "\n\n".join(f"{label.capitalize()}: {text}" for label, text in parts)
        questions.append(
            Question(id=key, text=row["QUESTION"], documents=(name,), kind=row["final_decision"], cluster=name)
        )
    return QuestionSet("pubmedqa", tuple(questions), texts=texts)


_SIGNS: tuple[tuple[str, Callable[[Path], QuestionSet]], ...] = (
    ("queries.jsonl", _cuad),
    ("qna.jsonl", _kg10q),
    ("dev_public.json", _squad),
    ("pqal_dev500.json", _pubmedqa),
)
