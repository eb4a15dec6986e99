"""Ways to cut and to choose passages beside the shipped one: CUAD's questions, in memory, the product's own parts.

    python -m benchmarks.variants DATA [--cuts 200/1000/20 100/500/10 ...] [--hyde 150]

Cuts are `tokens/characters/overlap` of the chunker. For each cut all of DATA/cuad/pdf is cut and embedded anew and
every question of DATA/cuad/queries.jsonl asked. Over the first cut: the first passages chosen by maximal marginal
relevance (Carbonell and Goldstein 1998), and small-to-big, where passages of a smaller cut find those of the first that
hold them, by meaning alone or by meaning and words. `--hyde N` asks N of the questions with the vector of a passage
mixed in that the language model of the settings imagines (HyDE: Gao, Ma, Lin, Callan 2023). Lines as they come;
docs/decisions/retrieval.md quotes the figures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.retrieval import READER, as_result, fill, hits, passages
from ingest.chunk import MAX_TOKENS, Chunker
from ingest.dense import DenseEncoder
from models.defaults import open_llm
from retrieval.index.edge import EdgeIndex
from retrieval.index.fusion import DEPTH, Ranked, fuse
from retrieval.search import clean_question
from strongroom import airgap
from strongroom.app.models import InstalledModels
from strongroom.config import load
from strongroom.ports import Embedder, GenerationOptions, IndexQuery, Vectors
from strongroom.types import Message, StoredChunk

CUTS = ("200/1000/20", "200/1000/0", "200/1000/60", "100/500/10", "50/250/0", "254/1300/20", "400/2000/40")
LISTS = 400  # asked of each side: a small passage counts for the large one that holds it
K = 8


class Cut:
    """All contracts in one cut, with the two lists of every question."""

    def __init__(self, pdfs: Path, chunker: Chunker, asked: Sequence[dict[str, Any]], embedder: Embedder) -> None:
        self.chunks, wordings = passages(pdfs, chunker)
        self.wordings = wordings
        self.by_id = {chunk.id: chunk for chunk in self.chunks}
        self.vectors: Vectors = DenseEncoder(embedder).encode(wordings)
        self.vector_of = {chunk.id: vector for chunk, vector in zip(self.chunks, self.vectors, strict=True)}
        cleaned = [clean_question(item["question"]) for item in asked]
        self.lists = self.ask([IndexQuery(embedder.embed_query(q), q) for q in cleaned])

    def ask(self, queries: Sequence[IndexQuery]) -> list[tuple[Ranked, Ranked]]:
        """The list by meaning and the list by words of each query."""
        with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
            index = EdgeIndex(Path(folder), self.vectors.shape[1])
            fill(index, self.chunks, self.wordings, self.vectors)
            found = [index.candidates(query, READER, LISTS) for query in queries]
            index.close()
        return found


def main() -> None:
    """Parse arguments, measure, print one line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds cuad/pdf and cuad/queries.jsonl")
    parser.add_argument(
        "--cuts", nargs="+", default=list(CUTS), help="tokens/characters/overlap; the first is the base"
    )
    parser.add_argument("--hyde", type=int, default=0, metavar="N", help="questions to imagine a passage for")
    args = parser.parse_args()
    airgap.prepare_environment()
    settings = load().settings
    embedder = InstalledModels(settings).embedder()
    pdfs, queries = args.data / "cuad" / "pdf", args.data / "cuad" / "queries.jsonl"
    asked = [json.loads(line) for line in queries.read_text(encoding="utf-8").splitlines() if line.strip()]
    base: Cut | None = None
    for name in args.cuts:
        tokens, characters, overlap = map(int, name.split("/"))
        began = time.perf_counter()
        chunker = Chunker(embedder.tokenizer, tokens, overlap, characters)
        cut = Cut(pdfs, chunker, asked, embedder)
        seconds = round(time.perf_counter() - began, 1)
        show(f"cut {name}", asked, [as_chunks(cut, fused(*lists)) for lists in cut.lists], len(cut.chunks), seconds)
        if base is None:
            base = cut
            for balance in (0.9, 0.7, 0.5):
                chosen = [as_chunks(cut, mmr(cut, fused(*lists, limit=32), balance)) for lists in cut.lists]
                show(f"mmr {balance}", asked, chosen)
            if args.hyde:
                imagined(cut, asked[:: max(1, len(asked) // args.hyde)], embedder, settings.models_dir, settings.model)
        elif chunker.max_tokens < MAX_TOKENS:
            for both, words in ((False, "meaning"), (True, "meaning and words")):
                show(f"small-to-big {name}, {words}", asked, list(grown(base, cut, both=both)))


def show(
    name: str,
    asked: list[dict[str, Any]],
    found: Sequence[Sequence[StoredChunk]],
    passages: int = 0,
    seconds: float = 0,
) -> None:
    """One line: page hits over all questions and without the cover page's."""
    made = hits(asked, [as_result(chunks) for chunks in found])
    depths = {part: {depth: made[part][depth] for depth in ("1", "3", "5", "8")} for part in made}
    print(json.dumps({"variant": name, **depths, "passages": passages, "seconds": seconds}), flush=True)


def fused(dense: Ranked, sparse: Ranked, *, limit: int = K) -> list[tuple[str, float]]:
    """The product's fusion of the two lists."""
    found = fuse(dense[:DEPTH], sparse[:DEPTH], limit=limit, depth=DEPTH)
    return [(hit.chunk_id, hit.score) for hit in found]


def as_chunks(cut: Cut, ranked: Ranked) -> list[StoredChunk]:
    return [cut.by_id[i] for i, _ in ranked]


def mmr(cut: Cut, ranked: list[tuple[str, float]], balance: float) -> Ranked:
    """The first `K` of `ranked`, each weighed against its likeness to those before it."""
    vectors = np.stack([cut.vector_of[i] for i, _ in ranked])
    scores = np.array([score for _, score in ranked])
    worth = (scores - scores.min()) / max(float(np.ptp(scores)), 1e-9)
    likeness = np.zeros(len(ranked))
    taken: list[int] = []
    while len(taken) < min(K, len(ranked)):
        value = balance * worth - (1 - balance) * likeness
        value[taken] = -np.inf
        taken.append(int(value.argmax()))
        likeness = np.maximum(likeness, vectors @ vectors[taken[-1]])
    return [ranked[i] for i in taken]


def imagined(cut: Cut, asked: list[dict[str, Any]], embedder: Embedder, models: Path, model: str) -> None:
    """The same questions by their own vector and by its mean with that of an imagined passage."""
    llm = open_llm(models, model)
    queries: dict[str, list[IndexQuery]] = {"question alone": [], "hyde": [], "hyde, passage alone": []}
    for item in asked:
        question = clean_question(item["question"])
        prompt = [Message("user", f"Write the passage of a contract that answers this question.\n\n{question}")]
        passage = "".join(llm.stream(prompt, GenerationOptions(max_tokens=64)))
        own, other = embedder.embed_query(question), embedder.embed_documents([passage])[0]
        mean = own + other
        queries["question alone"].append(IndexQuery(own, question))
        queries["hyde"].append(IndexQuery(mean / np.linalg.norm(mean), question))
        queries["hyde, passage alone"].append(IndexQuery(other, question))
    llm.close()
    for name, made in queries.items():
        lists = cut.ask(made)
        show(f"{name}, {len(asked)} questions", asked, [as_chunks(cut, fused(*both)) for both in lists])
        show(f"{name}, by meaning", asked, [as_chunks(cut, dense[:K]) for dense, _ in lists])


def grown(big: Cut, small: Cut, *, both: bool) -> Iterator[list[StoredChunk]]:
    """For each question the passages of `big` by the best of the passages of `small` that lie in them."""
    starts: dict[str, list[tuple[int, str]]] = {}
    for chunk in big.chunks:
        starts.setdefault(chunk.document.id, []).append((chunk.start, chunk.id))
    holder = {}
    for chunk in small.chunks:
        placed = starts[chunk.document.id]
        middle = (chunk.start + chunk.end) // 2
        holder[chunk.id] = placed[max(bisect_right(placed, (middle, "~")) - 1, 0)][1]

    def lifted(ranked: Ranked) -> Ranked:
        best: dict[str, float] = {}
        for i, score in ranked:
            best.setdefault(holder[i], score)  # best first
        return list(best.items())

    for (dense, sparse), (_, words) in zip(small.lists, big.lists, strict=True):
        yield as_chunks(big, fused(lifted(dense), lifted(sparse) if both else words))


if __name__ == "__main__":
    main()
