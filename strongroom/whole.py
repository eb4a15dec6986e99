"""Work over whole documents: what is asked for and what comes back, item by item.

Frozen values like those of `strongroom.types`, with the same rules: field names are the JSON names. Every claim carries
its citations, whose quotes stand word for word on their pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from strongroom.types import Answer, Citation, DocumentRef, ErrorEvent, Support

WholeTask = Literal["summarise", "compare", "extract", "sheet", "timeline"]
FieldKind = Literal["text", "date", "money", "number", "yes_no"]
Change = Literal["facts", "wording", "only"]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a table over documents: its name, what kind of value it holds, and the question it answers."""

    name: str
    kind: FieldKind = "text"
    question: str = ""  # empty: the name is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRequest:
    """What to do with whole documents.

    `documents` are ids; without any, it is all that the asker may read in `collection`, or everywhere. What was worked
    out for a document before is used again unless `again` is set.
    """

    task: WholeTask
    documents: tuple[str, ...] = ()
    collection: str | None = None
    points: int = 8  # of a summary, for each document
    fields: tuple[Field, ...] = ()  # of `extract`
    questions: tuple[str, ...] = ()  # of `sheet`
    model: str | None = None  # an installed language model; without, the configured one where it writes well
    again: bool = False
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One statement of a summary, of one document or (`document` is `None`) of all.

    `extract` says that `text` is a sentence of the document and no model wrote it; then it is its own support.
    """

    document: DocumentRef | None
    text: str
    citations: tuple[Citation, ...]
    support: Support
    extract: bool
    digital_source_type: str | None = None  # `strongroom.types.GENERATED` where a model wrote `text`
    kind: Literal["point"] = "point"


@dataclass(frozen=True, slots=True)
class Side:
    """What one document says; no citation where it says nothing of the kind."""

    document: DocumentRef
    citation: Citation | None
    facts: tuple[str, ...] = ()  # numbers, dates and names that the other side does not have


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two documents differ.

    `facts`: nearly the same words with other numbers, dates or names; `wording`: other words for the same topic;
    `only`: nothing like it in the other document.
    """

    topic: str
    change: Change
    sides: tuple[Side, Side]
    similarity: float  # share of words in common, 0..1
    kind: Literal["difference"] = "difference"


@dataclass(frozen=True, slots=True)
class Cell:
    """The value of one field in one document.

    `value` is written one way (dates as YYYY-MM-DD, money as CODE AMOUNT, yes/no) and `text` are the document's words
    for it. When not `found`, both are empty and the citation is the nearest passage, not evidence.
    """

    field: str
    found: bool
    value: str
    text: str
    confidence: float  # 0..1
    citation: Citation | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One document's cells, in the order of the fields."""

    document: DocumentRef
    cells: tuple[Cell, ...]
    kind: Literal["row"] = "row"


@dataclass(frozen=True, slots=True)
class SheetAnswer:
    """The answer to the question at 0-based `index` of a questionnaire.

    Without an `answer`, `error` says why the question was not asked.
    """

    index: int
    question: str
    answer: Answer | None
    error: str = ""
    kind: Literal["sheet"] = "sheet"


@dataclass(frozen=True, slots=True)
class Dated:
    """A date in a document: `date` and, for a range, `until`, in ISO 8601 as exactly as written (2014, 2014-05, ...).

    `date` is empty for a time that is only relative ("within thirty days of delivery"). `text` are the words for it,
    inside the quoted sentence.
    """

    date: str
    until: str
    text: str
    citation: Citation
    flags: tuple[str, ...] = ()  # `relative`, `range`, `day or month first?`, `two-digit year`
    kind: Literal["dated"] = "dated"


@dataclass(frozen=True, slots=True)
class WholeProgress:
    """How far the work is. `unit` is what is counted; `reused` of `done` were worked out before."""

    done: int
    total: int
    unit: Literal["documents", "cells", "questions", "sentences"]
    seconds: float
    current: str = ""
    reused: int = 0
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class WholeDone:
    """The last event of work that came to its end. `left_out` names documents that could not be read, and questions
    that could not be asked, with the reason.

    `model` is the language model that wrote, or `extractive` when none did.
    """

    task: WholeTask
    documents: int
    items: int
    reused: int
    seconds: float
    model: str
    left_out: tuple[tuple[str, str], ...] = ()
    id: str | None = None
    kind: Literal["done"] = "done"


WholeItem = Point | Difference | Row | SheetAnswer | Dated
WholeEvent = WholeProgress | WholeItem | WholeDone | ErrorEvent
