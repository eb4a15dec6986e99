"""An ingest run, or the state of the library, as one HTML page: `ingest --report` and `documents report`.

Self-contained and inert: no script, nothing fetched. Names of files and reasons are what strangers wrote: they reach
the page through a template that escapes every one of them, without marks that turn the writing direction.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from strongroom.cli.common import printable
from strongroom.cli.progress import GONE_WELL
from strongroom.errors import UsageError
from strongroom.files import require_writable
from strongroom.types import DocumentInfo, DoubtfulPage, FileOutcome, IngestRequest, IngestSummary
from strongroom.wire import shown_uri
from strongroom.words import DOUBTFUL, duration, place, size

if TYPE_CHECKING:
    from strongroom.engine import Engine

_MOST = 20  # slowest and largest files that are shown
_BARS = 7  # kinds of file that get a bar of their own
_TIMES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # upper ends of the bars of time, in seconds
_TIME_LABELS = ("≤ 0.1", "≤ 0.3", "≤ 1", "≤ 3", "≤ 10", "≤ 30", "> 30")
_NO_REASON = "no reason given"


@dataclass(slots=True)
class Kind:
    """Files with one ending, added up."""

    files: int = 0
    bad: int = 0  # failed and quarantined
    pages: int = 0
    chunks: int = 0
    seconds: float = 0.0
    size: int = 0


@dataclass(slots=True)
class RunRecord:
    """What a report needs of a run: sums, and names only of what is listed, so that memory does not grow with it."""

    kinds: defaultdict[str, Kind] = field(default_factory=lambda: defaultdict(Kind))
    reasons: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    times: list[int] = field(default_factory=lambda: [0] * len(_TIME_LABELS))
    slowest: list[tuple[float, str, int]] = field(default_factory=list)
    documents: set[str] = field(default_factory=set)  # ids of what this run has read

    def add(self, outcome: FileOutcome) -> None:
        path = _name(outcome.path)
        kind = self.kinds[ending(path)]
        kind.files += 1
        kind.bad += outcome.outcome in ("failed", "quarantined")
        kind.seconds += outcome.seconds
        if outcome.outcome == "indexed":  # unchanged files have pages too, but this run has not read them
            kind.pages += outcome.pages
            kind.chunks += outcome.chunks
        if outcome.outcome not in GONE_WELL:
            self.reasons[outcome.outcome, printable(outcome.reason or _NO_REASON)].append(path)
        if outcome.outcome == "indexed" and outcome.document_id is not None:
            self.documents.add(outcome.document_id)
        if outcome.seconds > 0:
            self.times[bisect_left(_TIMES, outcome.seconds)] += 1
            heapq.heappush(self.slowest, (outcome.seconds, path, outcome.pages))
            if len(self.slowest) > _MOST:
                heapq.heappop(self.slowest)


def require_page(path: Path) -> None:
    """Raises `UsageError` where a report could not be written, before the work begins that it is about."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path} is no name for an HTML page", hint="Give the report a name that ends in .html.")
    require_writable(path)


def doubtful(opened: Engine, collection: str | None, only: set[str] | None = None) -> list[DoubtfulPage]:
    """Pages of which OCR was not sure, of all documents or of those in `only`."""
    found = opened.doubtful_pages(DOUBTFUL, collection=collection)
    return [page for page in found if only is None or page.document.id in only]


def run_page(record: RunRecord, summary: IngestSummary, request: IngestRequest, doubts: list[DoubtfulPage]) -> str:
    """The report of one run."""
    seconds = summary.seconds
    tiles = {
        "files": f"{summary.files:,}",
        "pages": f"{summary.pages:,}",
        "chunks": f"{summary.chunks:,}",
        "time": duration(seconds) if seconds >= 1 else f"{seconds:.1f} s",
        "pages/s": f"{summary.pages / seconds:.1f}" if seconds > 0 else "",
        "failed or quarantined": f"{summary.outcomes.get('failed', 0) + summary.outcomes.get('quarantined', 0):,}",
    }
    slowest = [
        (name, f"{took:.1f} s", f"{pages:,}", f"{pages / took:.1f}" if pages else "")
        for took, name, pages in sorted(record.slowest, reverse=True)
    ]
    return _render(
        title="Dry run of an ingest" if summary.dry_run else "Ingest",
        about=f"Into the collection “{printable(request.collection)}”, from "
        + ", ".join(printable(path) for path in request.paths),
        kept=summary.kept,
        dry_run=summary.dry_run,
        tiles=tiles,
        plots=[
            _bars("Files by outcome", Counter(summary.outcomes).most_common()),
            _bars("Files by kind", _most_kinds(record.kinds)),
            *(
                [_bars("Files by time taken", list(zip(_TIME_LABELS, record.times, strict=True)), "seconds")]
                * any(record.times)
            ),
        ],
        kinds_head=("files", "failed or quarantined", "pages", "chunks", "seconds of work"),
        kinds=[
            (kind, f"{k.files:,}", f"{k.bad:,}", f"{k.pages:,}", f"{k.chunks:,}", f"{k.seconds:,.1f}")
            for kind, k in _by_files(record.kinds)
        ],
        reasons=record.reasons,
        longest_title="Slowest files",
        longest_head=("took", "pages", "pages/s"),
        longest=slowest,
        doubts=doubts,
    )


def library_page(documents: list[DocumentInfo], collection: str | None, doubts: list[DoubtfulPage]) -> str:
    """The report of what is stored now."""
    kinds: defaultdict[str, Kind] = defaultdict(Kind)
    reasons: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    states = Counter(document.state.value for document in documents)
    for d in documents:
        path = _name(d.path)
        kind = kinds[ending(d.name)]
        bad = d.state.value in ("failed", "quarantined")
        kind.files += 1
        kind.bad += bad
        kind.pages += d.pages
        kind.chunks += d.chunks
        kind.size += d.size
        if bad or d.reason:
            reasons[d.state.value, printable(d.reason or _NO_REASON)].append(path)
    largest = heapq.nlargest(_MOST, documents, key=lambda d: (d.pages, d.size))
    where = "In all collections" if collection is None else f"In the collection “{printable(collection)}”"
    return _render(
        title="Documents",
        about=f"{where}, as far as the asker may read.",
        kept=0,
        dry_run=False,
        tiles={
            "documents": f"{len(documents):,}",
            "pages": f"{sum(d.pages for d in documents):,}",
            "chunks": f"{sum(d.chunks for d in documents):,}",
            "size": size(sum(d.size for d in documents)),
            "failed or quarantined": f"{states['failed'] + states['quarantined']:,}",
        },
        plots=[
            _bars("Documents by state", states.most_common(), y_label="documents"),
            _bars("Documents by kind", _most_kinds(kinds), y_label="documents"),
        ],
        kinds_head=("documents", "failed or quarantined", "pages", "chunks", "size"),
        kinds=[
            (kind, f"{k.files:,}", f"{k.bad:,}", f"{k.pages:,}", f"{k.chunks:,}", size(k.size))
            for kind, k in _by_files(kinds)
        ],
        reasons=reasons,
        longest_title="Longest documents",
        longest_head=("pages", "chunks", "size"),
        longest=[(_name(d.path), f"{d.pages:,}", f"{d.chunks:,}", size(d.size)) for d in largest],
        doubts=doubts,
    )


def ending(path: str) -> str:
    """What people call the kind of a file: the ending of its name."""
    return PurePosixPath(path).suffix.lower() or "none"


def _name(path: str) -> str:
    return printable(shown_uri(path))


def _by_files(kinds: Mapping[str, Kind]) -> list[tuple[str, Kind]]:
    return sorted(kinds.items(), key=lambda item: (-item[1].files, item[0]))


def _most_kinds(kinds: Mapping[str, Kind]) -> list[tuple[str, int]]:
    ordered = [(kind[:10], k.files) for kind, k in _by_files(kinds)]
    rest = sum(files for _, files in ordered[_BARS:])
    return ordered[:_BARS] + ([("others", rest)] if rest else [])


def _bars(title: str, counts: Iterable[tuple[str, int]], x_label: str = "", *, y_label: str = "files") -> str:
    from evals import plots

    return plots.bars(title, [(label, (count,)) for label, count in counts], (), x_label=x_label, y_label=y_label)


def _render(
    *, reasons: Mapping[tuple[str, str], list[str]], doubts: list[DoubtfulPage], plots: list[str], **facts: Any
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from evals.plots import POLICY, STYLE
    from strongroom import __version__

    # Style and plots alone are let through as they are: ours, and every word in a plot is escaped where it is drawn.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        policy=POLICY,
        style=STYLE,
        plots=plots,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
        below=f"{DOUBTFUL:.0%}",
        reasons=sorted(((*key, sorted(names)) for key, names in reasons.items()), key=lambda r: (-len(r[2]), r[:2])),
        doubts=[(printable(p.document.name), printable(place(None, p.locator)), f"{p.confidence:.0%}") for p in doubts],
        **facts,
    )
