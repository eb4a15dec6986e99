"""Page retrieval on CUAD's questions, and paragraphs of SQuAD and XQuAD, below the command line.

    python -m benchmarks.retrieval DATA [--baseline quickstart.py] [--cache FILE.npz] [--paragraphs 600]

Parses, cuts and embeds DATA/cuad/pdf with the product's own parts and asks DATA/cuad/queries.jsonl through `Searcher`
over an embedded index; then compares ways to fuse the two lists on the very same candidates. `--cache` keeps the
vectors between runs. `--paragraphs` adds DATA/squad2 and DATA/xquad, each paragraph a document. Progress goes to
stderr, one JSON to stdout. The figures are quoted in docs/decisions/retrieval.md and fusion.md; latency at size is
`benchmarks.latency`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run import COVER, machine, note, page_hits, quickstart
from evals.statistics import estimate
from ingest.chunk import Chunker, Wording, wording
from ingest.dense import DenseEncoder
from ingest.parse.pdf import parse_pdf
from retrieval.index.edge import EdgeIndex
from retrieval.index.fusion import DENSE_WEIGHT, DEPTH, Ranked, fuse
from retrieval.search import Searcher, clean_question
from strongroom import airgap
from strongroom.access import AccessFilter
from strongroom.app.models import InstalledModels
from strongroom.config import load
from strongroom.ports import Embedder, IndexPoint, IndexQuery, Vectors
from strongroom.types import DocumentRef, Locator, StoredChunk

READER = AccessFilter(frozenset({"user:reader", "group:everyone"}))
Fuse = Callable[[Ranked, Ranked], list[str]]
Quickstart = Callable[[Path, Path], dict[str, Any]]  # of a folder and its questions


def main() -> None:
    """Parse arguments, measure, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds cuad/pdf and cuad/queries.jsonl")
    parser.add_argument("--baseline", type=Path, help="the quick start script to run beside it")
    parser.add_argument("--python-path", type=Path, help="folder with the baseline's own packages")
    parser.add_argument("--cache", type=Path, help="file that keeps the vectors between runs")
    parser.add_argument("--paragraphs", type=int, default=0, metavar="N", help="questions of SQuAD and XQuAD to ask")
    parser.add_argument("--sets", nargs="*", help="paragraphs of these sets alone, by part of the file's name")
    parser.add_argument("--skip-cuad", action="store_true", help="only the paragraphs")
    args = parser.parse_args()
    airgap.prepare_environment()
    pdfs, queries = args.data / "cuad" / "pdf", args.data / "cuad" / "queries.jsonl"
    asked = [json.loads(line) for line in queries.read_text(encoding="utf-8").splitlines() if line.strip()]
    settings = load().settings
    embedder = InstalledModels(settings).embedder()
    figures: dict[str, Any] = {"machine": machine()}
    if not args.skip_cuad:
        figures |= pages(pdfs, asked, embedder, args.cache)
    if args.paragraphs:
        beside = partial(quickstart, args.baseline, packages=args.python_path) if args.baseline else None
        figures["paragraphs"] = paragraphs(args.data, embedder, args.paragraphs, beside, args.sets)
    if args.baseline and not args.skip_cuad:
        note("quick start")
        figures["quickstart"] = quickstart(args.baseline, pdfs, queries, args.python_path)
    print(json.dumps(figures, indent=2))


def pages(pdfs: Path, asked: list[dict[str, Any]], embedder: Embedder, cache: Path | None) -> dict[str, Any]:
    """Page hits of the product, of ways to fuse, and of what each part of the wording gives."""
    chunks, wordings = passages(pdfs, Chunker(embedder.tokenizer))
    vectors = embedded(wordings, embedder, cache)
    figures: dict[str, Any] = {"chunks": len(chunks)}
    figures["always the first page"] = hits(asked, [first_page(item) for item in asked])
    figures["product"], figures["fusion"] = retrieval(chunks, wordings, vectors, asked, embedder)
    note("name and passage as one field")
    joined = [Wording("", "\n".join(w)) for w in wordings]
    figures["one field"] = some(retrieval(chunks, joined, vectors, asked, embedder)[1])
    note("without document names in the words")
    nameless = [Wording("", w.passage) for w in wordings]
    figures["words without document names"] = some(retrieval(chunks, nameless, vectors, asked, embedder)[1])
    return figures


def passages(pdfs: Path, chunker: Chunker) -> tuple[list[StoredChunk], list[Wording]]:
    """Every chunk of every PDF as the catalogue would release it, and the words it is found by."""
    chunks, wordings = [], []
    for path in sorted(p for p in pdfs.iterdir() if p.suffix.lower() == ".pdf"):
        document = parse_pdf(path)
        reference = DocumentRef(str(uuid.uuid5(uuid.NAMESPACE_URL, path.name)), path.name, path.as_uri())
        for chunk in chunker.chunk(document):
            numbers = tuple(n for i in chunk.pages if (n := document.pages[i].number) is not None)
            chunks.append(
                StoredChunk(
                    id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path.name}#{chunk.ordinal}")),
                    document=reference,
                    version_id=reference.id,
                    ordinal=chunk.ordinal,
                    start=chunk.start,
                    end=chunk.end,
                    text=chunk.text,
                    headings=chunk.headings,
                    pages=chunk.pages,
                    page_numbers=numbers,
                    locator=document.pages[chunk.pages[0]].locator,
                )
            )
            wordings.append(wording(path.name, document.title, chunk.headings, chunk.text))
    note(f"{len(chunks)} chunks")
    return chunks, wordings


def embedded(wordings: Sequence[Wording], embedder: Embedder, cache: Path | None) -> Vectors:
    """The vectors of the chunks, from `cache` where it holds those of these very words and this embedder."""
    texts = [w.text for w in wordings]
    if cache is not None and cache.is_file():
        with np.load(cache) as kept:
            if str(kept["embedder"]) == embedder.fingerprint and list(kept["texts"]) == texts:
                return np.asarray(kept["vectors"], dtype=np.float32)
    note("embedding")
    vectors = DenseEncoder(embedder).encode(wordings)
    if cache is not None:
        np.savez(cache, vectors=vectors, texts=np.array(texts), embedder=np.array(embedder.fingerprint))
    return vectors


def retrieval(
    chunks: Sequence[StoredChunk],
    wordings: Sequence[Wording],
    vectors: Vectors,
    asked: list[dict[str, Any]],
    embedder: Embedder,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Page hits and latency of the product's search, and page hits of every fusion over the same candidates."""
    stored = {chunk.id: chunk for chunk in chunks}
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
        index = EdgeIndex(Path(folder), embedder.dimension)
        fill(index, chunks, wordings, vectors)
        searcher = Searcher(
            index=index, embedder=embedder, release=lambda ids, access: [stored[i] for i in ids if i in stored]
        )
        note("search")
        results, times = [], []
        cpu = time.process_time()
        for item in asked:
            found, timings = searcher.search(item["question"], access=READER, k=8)
            results.append(as_result([hit.chunk for hit in found]))
            times.append(timings)
        cpu = time.process_time() - cpu
        note("fusions")
        cleaned = [clean_question(item["question"]) for item in asked]
        lists = [index.candidates(IndexQuery(embedder.embed_query(q), q), READER, 400) for q in cleaned]
        index.close()
    product = {**hits(asked, results), "ms": {step: spread([t[step] for t in times]) for step in times[0]}}
    product["cpu_ms_mean"] = round(cpu * 1000 / len(asked), 2)  # less shaken by other work on the machine
    compared = {
        name: hits(asked, [as_result([stored[i] for i in how(dense, sparse)]) for dense, sparse in lists])
        for name, how in fusions()
    }
    return product, compared


def fill(index: EdgeIndex, chunks: Sequence[StoredChunk], wordings: Sequence[Wording], vectors: Vectors) -> None:
    """Store the chunks as ingest does, readable by everyone."""
    index.upsert(
        [
            IndexPoint(
                id=c.id,
                dense=v,
                text=w.passage,
                document_id=c.document.id,
                version_id=c.version_id,
                collection_id="c",
                allow=("group:everyone",),
                name=w.context,
                opening=c.ordinal == 0,
            )
            for c, w, v in zip(chunks, wordings, vectors, strict=True)
        ]
    )
    index.flush()


def paragraphs(
    data: Path, embedder: Embedder, count: int, beside: Quickstart | None, only: Sequence[str] | None = None
) -> dict[str, Any]:
    """Hit@1 and @5 with every paragraph as a document of its own, its number for a name; `count` questions of each set.

    SQuAD 2.0's answerable questions, and XQuAD's in the language of the paragraphs; the quick start on the same files.
    """
    sets = [data / "squad2" / "dev_public.json", *sorted((data / "xquad").glob("xquad.*.json"))]
    found: dict[str, Any] = {}
    for path in (path for path in sets if not only or any(part in path.stem for part in only)):
        note(path.stem)
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        texts = [p["context"] for a in articles for p in a["paragraphs"]]
        asked = [
            (qa["question"], number, article)
            for number, (article, p) in enumerate((a.get("title", ""), p) for a in articles for p in a["paragraphs"])
            for qa in p["qas"]
            if not qa.get("is_impossible")
        ]
        random.Random(0).shuffle(asked)
        asked = asked[:count]
        found[path.stem] = {"paragraphs": len(texts), **paragraph_hits(texts, asked, embedder)}
        if beside is not None:
            with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
                found[path.stem]["quickstart"] = beside(*as_files(Path(folder), texts, asked))
    return found


def as_files(folder: Path, texts: Sequence[str], asked: list[tuple[str, int, str]]) -> tuple[Path, Path]:
    """The same paragraphs and questions in the form that the quick start reads."""
    corpus, queries = folder / "corpus", folder / "queries.jsonl"
    corpus.mkdir()
    for number, text in enumerate(texts):
        (corpus / f"{number:04}.txt").write_text(text, encoding="utf-8")
    lines = [{"question": q, "document": f"{number:04}.txt", "pages": [1]} for q, number, _ in asked]
    queries.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return corpus, queries


def paragraph_hits(texts: Sequence[str], asked: list[tuple[str, int, str]], embedder: Embedder) -> dict[str, Any]:
    """Share of questions whose own paragraph is first, and among the first five."""
    chunks, wordings = [], []
    for number, text in enumerate(texts):
        name = f"{number:04}.txt"
        document = DocumentRef(name, name, f"file:///{name}")
        place = Locator("page", "1")
        id = str(uuid.UUID(int=number))
        chunks.append(StoredChunk(id, document, "v", 0, 0, len(text), text, (), (0,), (1,), place))
        wordings.append(wording(name, None, (), text))
    stored = {chunk.id: chunk for chunk in chunks}
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
        index = EdgeIndex(Path(folder), embedder.dimension)
        fill(index, chunks, wordings, DenseEncoder(embedder).encode(wordings))
        searcher = Searcher(index=index, embedder=embedder, release=lambda ids, access: [stored[i] for i in ids])
        places = [
            [int(hit.chunk.document.name[:4]) for hit in searcher.search(question, access=READER, k=5)[0]]
            for question, _, _ in asked
        ]
        index.close()
    ranks = [found.index(a[1]) if a[1] in found else len(found) for a, found in zip(asked, places, strict=True)]
    clusters = [article for _, _, article in asked]
    return {"questions": len(asked)} | {
        str(depth): asdict(estimate([float(rank < depth) for rank in ranks], clusters)) for depth in (1, 5)
    }


def first_page(item: dict[str, Any]) -> dict[str, Any]:
    """The first page of the right document, as a result: what can be said without looking."""
    return {"hits": [{"document": {"name": item["document"]}, "pages": [1]}]}


def some(compared: dict[str, Any]) -> dict[str, Any]:
    """Words alone and the product's fusion, out of everything that was compared."""
    return {name: compared[name] for name in ("words", z_name(DEPTH, DENSE_WEIGHT))}


def fusions() -> Iterator[tuple[str, Fuse]]:
    """What was compared; `z-sum` is the product's."""
    yield "meaning", lambda dense, sparse: [i for i, _ in dense[:8]]
    yield "words", lambda dense, sparse: [i for i, _ in sparse[:8]]
    for depth in (50, DEPTH, 200, 400):
        yield z_name(depth, DENSE_WEIGHT), partial(z_sum, depth=depth, weight=DENSE_WEIGHT)
    for weight in (0.2, 0.4, 0.5, 0.7, 1.0, 2.0):
        yield z_name(DEPTH, weight), partial(z_sum, depth=DEPTH, weight=weight)
    for k in (2, 60):
        yield f"rrf, k {k}, depth {DEPTH}", partial(rrf, k=k)
    yield f"dbsf, depth {DEPTH}", dbsf


def z_name(depth: int, weight: float) -> str:
    """What a z-score sum is called in the figures."""
    return f"z-sum, depth {depth}, meaning x {weight:g}"


def z_sum(dense: Ranked, sparse: Ranked, *, depth: int, weight: float) -> list[str]:
    """The product's fusion."""
    fused = fuse(dense[:depth], sparse[:depth], limit=8, depth=depth, dense_weight=weight)
    return [hit.chunk_id for hit in fused]


def rrf(dense: Ranked, sparse: Ranked, *, k: int) -> list[str]:
    """Reciprocal rank fusion (Cormack, Clarke, Buettcher 2009)."""
    scores: dict[str, float] = {}
    for ranked in (dense[:DEPTH], sparse[:DEPTH]):
        for rank, (i, _) in enumerate(ranked):
            scores[i] = scores.get(i, 0.0) + 1.0 / (k + rank)
    return sorted(scores, key=lambda i: (-scores[i], i))[:8]


def dbsf(dense: Ranked, sparse: Ranked) -> list[str]:
    """Distribution-based score fusion as Qdrant defines it: each list scaled to mean +- 3 deviations, then summed."""
    scores: dict[str, float] = {}
    for ranked in (dense[:DEPTH], sparse[:DEPTH]):
        values = [value for _, value in ranked]
        if len(values) < 2 or not (deviation := statistics.stdev(values)):
            continue
        low = statistics.fmean(values) - 3 * deviation
        for i, value in ranked:
            scores[i] = scores.get(i, 0.0) + (value - low) / (6 * deviation)
    return sorted(scores, key=lambda i: (-scores[i], i))[:8]


def as_result(chunks: Sequence[StoredChunk]) -> dict[str, Any]:
    """The part of `search --json` that `page_hits` reads."""
    return {"hits": [{"document": {"name": c.document.name}, "pages": list(c.page_numbers)} for c in chunks]}


def hits(asked: list[dict[str, Any]], results: list[dict[str, Any]]) -> dict[str, Any]:
    """Page hits over all questions, and without those that the cover page answers; intervals by contract."""
    kept = [i for i, item in enumerate(asked) if not item["question"].endswith(tuple(f"the {c}?" for c in COVER))]
    few, found = [asked[i] for i in kept], [results[i] for i in kept]
    return {
        "page_hit": page_hits(asked, results) | intervals(asked, results),
        "without_cover": page_hits(few, found) | intervals(few, found),
    }


def intervals(asked: list[dict[str, Any]], results: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    """95 % intervals of the hits at 1 and 5, resampling contracts."""
    single = [page_hits([item], [result]) for item, result in zip(asked, results, strict=True)]
    contracts = [item["document"] for item in asked]
    made = {}
    for depth in ("1", "5"):
        found = estimate([hit[depth] for hit in single], contracts)
        made[f"{depth} from/to"] = [None if end is None else round(end, 3) for end in (found.low, found.high)]
    return made


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {"p50": round(statistics.median(values), 2), "p99": round(float(np.percentile(values, 99)), 2)}


if __name__ == "__main__":
    main()
