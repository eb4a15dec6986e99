"""Question sets: what is asked, what would be right, and the file in which an organisation writes its own.

A file is JSON lines or CSV, one question a line. Everything wrong with it is reported at once, each with its line.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from strongroom.errors import UsageError
from strongroom.files import replace_file
from strongroom.types import Approval, DocumentInfo, DocumentRef

FIELDS = ("id", "question", "document", "pages", "answers", "unanswerable", "kind", "draft")
ALSO = {"answer": "answers", "documents": "document", "page": "pages"}  # what people write for them
HINT = (
    'Each line is an object like {"question": "When does it end?", "document": "a.pdf", "pages": [3], '
    '"answers": ["31 May"]}, or {"question": "...", "unanswerable": true}.'
)
_SHOWN = 20  # errors listed by line before the rest is only counted
_YES, _NO = {"yes", "true", "1", "x"}, {"no", "false", "0", ""}


@dataclass(frozen=True, slots=True)
class Question:
    """One question with what is known of its answer.

    `documents` are names (or ends of paths) of the documents that hold it, `pages` 1-based pages of the only document.
    Each of `answers` is right by itself; `evidence` lists passages that all belong to the answer, where a set has
    several. `cluster` is what is drawn together in intervals and kept together in splits: the document, unless the set
    knows better (an article of several paragraphs).
    """

    id: str
    text: str
    documents: tuple[str, ...] = ()
    pages: tuple[int, ...] = ()
    answers: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    unanswerable: bool = False
    kind: str = ""
    cluster: str = ""
    draft: bool = False
    quotable: bool = True  # the answers stand in the documents word for word

    @property
    def gold(self) -> tuple[tuple[str, ...], ...]:
        """Gold passages: each a group of texts of which one is enough."""
        if not self.quotable:
            return ()
        if self.evidence:
            return tuple((passage,) for passage in self.evidence)
        return (self.answers,) if self.answers else ()

    def is_about(self, document: DocumentRef) -> int | None:
        """Which of `documents` this is, or `None`."""
        path = PurePosixPath(document.path)
        for number, name in enumerate(self.documents):
            wanted = PurePosixPath(name)
            if name == document.name or path.parts[-len(wanted.parts) :] == wanted.parts:
                return number
        return None


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions with the documents they are about: files, texts by name, or what is stored already."""

    name: str
    questions: tuple[Question, ...]
    files: tuple[Path, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_documents(self) -> bool:
        return bool(self.files or self.texts)

    def sample(self, limit: int | None) -> QuestionSet:
        """At most `limit` questions, the same ones every time, drawn evenly over kinds and answerability."""
        if limit is None or limit >= len(self.questions):
            return self
        rng = random.Random(limit)  # noqa: S311 - sampling, not secrets
        strata: dict[tuple[str, bool], list[Question]] = {}
        for question in self.questions:
            strata.setdefault((question.kind, question.unanswerable), []).append(question)
        for stratum in strata.values():
            rng.shuffle(stratum)
        chosen: set[str] = set()
        while len(chosen) < limit:
            for stratum in strata.values():
                if stratum and len(chosen) < limit:
                    chosen.add(stratum.pop().id)
        kept = tuple(q for q in self.questions if q.id in chosen)
        return QuestionSet(self.name, kept, self.files, self.texts)

    def astray(self, documents: Sequence[DocumentInfo]) -> list[str]:
        """What the questions say of places that are not among `documents`: a typo there would count as a miss."""
        known = [(DocumentRef(d.id, d.name, d.path), d.pages) for d in documents]
        out = []
        for question in self.questions:
            about = [(question.is_about(ref), pages) for ref, pages in known]
            found = {number for number, _ in about if number is not None}
            out += [f"{question.id}: no document {n!r}" for i, n in enumerate(question.documents) if i not in found]
            most = max((pages for number, pages in about if number is not None), default=0)
            if found and any(page > most for page in question.pages):
                out.append(f"{question.id}: no page {max(question.pages)} in {question.documents[0]!r}")
        return out

    def digest(self) -> str:
        """Changes with any question or gold answer."""
        state = hashlib.blake2b(digest_size=16)
        for question in self.questions:
            state.update(json.dumps(to_line(question), sort_keys=True).encode())
            state.update(json.dumps([question.evidence, question.cluster]).encode())
        return state.hexdigest()


# ------------------------------------------------------------------------------------------------ files


def to_line(question: Question) -> dict[str, Any]:
    """A question as one line of a JSON-lines file; what is empty is left out."""
    line: dict[str, Any] = {"id": question.id, "question": question.text}
    if question.documents:
        line["document"] = question.documents[0] if len(question.documents) == 1 else list(question.documents)
    if question.pages:
        line["pages"] = list(question.pages)
    if question.answers:
        line["answers"] = list(question.answers)
    if question.unanswerable:
        line["unanswerable"] = True
    if question.kind:
        line["kind"] = question.kind
    if question.draft:
        line["draft"] = True
    return line


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """Write a question file, readable by its owner alone: it holds words of documents."""
    body = "".join(json.dumps(to_line(q), ensure_ascii=False) + "\n" for q in questions)
    write_private(path, body)


def approved(approvals: Iterable[Approval]) -> list[Question]:
    """Approved and corrected answers as questions; the last word on a question and a document counts."""
    last = {(a.question, a.document.id): a for a in approvals}
    return [
        Question(
            id=a.id,
            text=a.question,
            documents=(a.document.name,),
            pages=(a.page,) if a.page is not None else (),
            answers=(" ".join(a.text.split()),),
            kind=a.verdict,
            cluster=a.document.name,
        )
        for a in last.values()
        if a.verdict != "rejected"
    ]


def write_private(path: Path, text: str) -> None:
    """Replace a file with `text`, readable by its owner alone. Raises `UsageError`."""
    replace_file(path, text.encode("utf-8"))


def read_questions(path: Path) -> QuestionSet:
    """Read an organisation's own question file, JSON lines or CSV by its ending.

    Raises `UsageError` that lists what is wrong with every line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from exc
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}", hint="Give a question file or a data folder.") from exc
    lines = _csv_lines(text) if path.suffix.casefold() == ".csv" else _json_lines(text)
    questions: list[Question] = []
    errors: list[str] = []
    first_line: dict[str, int] = {}
    for number, value in lines:
        try:
            question = _question(value, number)
        except ValueError as exc:
            errors.append(f"line {number}: {exc}")
            continue
        if question.id in first_line:
            errors.append(f"line {number}: id {question.id!r} stands on line {first_line[question.id]} already")
        first_line.setdefault(question.id, number)
        questions.append(question)
    if errors:
        more = f"\n  and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise UsageError(f"{path}:\n  " + "\n  ".join(errors[:_SHOWN]) + more, hint=HINT)
    if not questions:
        raise UsageError(f"{path} holds no question", hint=HINT)
    return QuestionSet(path.stem, tuple(questions))


def _json_lines(text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as exc:
                yield number, ValueError(f"not JSON ({exc.msg}, column {exc.colno})")


def _csv_lines(text: str) -> Iterator[tuple[int, object]]:
    """Rows as objects; several pages or answers in a cell are separated by `;` and `|`."""
    try:
        dialect = csv.Sniffer().sniff(text.partition("\n")[0], delimiters=",;\t")
    except csv.Error:
        dialect = csv.excel
    reader = csv.DictReader(io.StringIO(text), dialect=dialect)
    for row in reader:
        line = reader.line_num
        if None in row:  # DictReader's key for cells beyond the header
            yield line, ValueError("more cells than the header has columns")
            continue
        if not any((cell or "").strip() for cell in row.values()):
            continue
        yield line, {str(key).strip().casefold(): cell for key, cell in row.items() if cell and cell.strip()}


def _question(value: object, number: int) -> Question:
    """Check one line. Raises `ValueError` that says what is wrong with it."""
    if isinstance(value, ValueError):
        raise value
    if not isinstance(value, dict):
        raise ValueError("not an object")
    given = {ALSO.get(key, key): cell for key, cell in value.items()}
    unknown = sorted(str(key) for key in set(given) - set(FIELDS))
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(FIELDS)}")
    text = given.get("question")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no question")
    documents = _texts(given.get("document"), "document", split=None)
    answers = _texts(given.get("answers"), "answers", split="|")
    pages = _pages(given.get("pages"))
    unanswerable = _flag(given.get("unanswerable"), "unanswerable")
    if unanswerable and answers:
        raise ValueError("marked unanswerable, yet it has an answer")
    if not unanswerable and not answers and not documents:
        raise ValueError("neither answers nor a document: nothing says what would be right")
    if pages and len(documents) != 1:
        raise ValueError("pages need one document that they are of")
    identifier = str(given.get("id") or f"q{number}")
    return Question(
        id=identifier,
        text=text.strip(),
        documents=documents,
        pages=pages,
        answers=answers,
        unanswerable=unanswerable,
        kind=str(given.get("kind") or ""),
        cluster=documents[0] if documents else identifier,
        draft=_flag(given.get("draft"), "draft"),
    )


def _texts(value: object, name: str, *, split: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    items: Sequence[object] = value if isinstance(value, list) else str(value).split(split) if split else [value]
    if isinstance(value, (dict, bool)) or not all(isinstance(i, (str, int, float)) for i in items):
        raise ValueError(f"{name} must be text or a list of texts")
    return tuple(str(i).strip() for i in items if str(i).strip())


def _pages(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, list) else str(value).replace(";", ",").split(",")
    try:
        pages = tuple(int(str(i)) for i in items)
    except ValueError:
        raise ValueError(f"pages must be whole numbers, not {value!r}") from None
    if any(page < 1 for page in pages):
        raise ValueError("pages count from 1")
    return pages


def _flag(value: object, name: str) -> bool:
    word = str(value if value is not None else "").strip().casefold()
    if word not in _YES | _NO:
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return word in _YES
