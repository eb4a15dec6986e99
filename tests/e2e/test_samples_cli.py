"""The main job on the sample documents, through the command line, with the real models and no network at all."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from retrieval.index.shard import copy as copy_sparse
from strongroom.errors import ExitCode
from strongroom.lock import DataLock
from tests.egress import refused_connections

pytestmark = pytest.mark.models

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
COMMAND = str(Path(sys.executable).with_name("strongroom"))


def isolated() -> list[str]:
    """A network namespace without any interface up, where the kernel lets an ordinary user make one."""
    prefix = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
        return prefix
    return []


@dataclass
class Room:
    data_dir: Path
    prefix: list[str]

    def run(self, *arguments: str, code: int = 0, **env: str) -> list[dict[str, Any]]:
        """Run a command, check its exit code, and return the JSON lines of stdout."""
        done = subprocess.run(
            [*self.prefix, COMMAND, *arguments, "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            env={**os.environ, **env},
            check=False,
        )
        assert done.returncode == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A data directory with the samples in it."""
    made = Room(tmp_path_factory.mktemp("samples") / "data", isolated())
    *files, last = made.run("ingest", str(SAMPLES / "documents"), "--json")
    assert {f["outcome"] for f in files} == {"indexed"}
    assert last["summary"]["outcomes"] == {"indexed": len(files)}
    yield made
    made.run("verify")
    made.run("audit", "verify")
    assert refused_connections(made.data_dir) == []


@pytest.fixture(scope="module")
def questions() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()]


def words(text: str) -> str:
    return " ".join(text.split())


def holds(quotes: list[str], answer: str) -> bool:
    return words(answer) in words(" ".join(quotes))


def test_search_finds_the_passage_that_answers(room: Room, questions: list[dict[str, Any]]) -> None:
    asked = [q for q in questions if not q["unanswerable"]]
    results = room.run("search", "--batch", str(SAMPLES / "questions.jsonl"), "-k", "5")
    by_id = {r["id"]: r for r in results}
    assert [r["id"] for r in results] == [q["id"] for q in questions]
    missed = []
    for question in asked:
        hits = [h for h in by_id[question["id"]]["hits"] if h["document"]["name"] == question["document"]]
        right_page = [h for h in hits if not question["pages"] or set(h["pages"]) & set(question["pages"])]
        if not holds([h["text"] for h in right_page], question["answer"]):
            missed.append(question["id"])
    assert len(missed) <= 1, missed


def test_answers_quote_the_document_at_the_right_page(room: Room, questions: list[dict[str, Any]]) -> None:
    # GIVEN every sample question, WHEN it is answered in the documents' own words
    results = room.run("ask", "--batch", str(SAMPLES / "questions.jsonl"), "--verbatim")
    by_id = {r["id"]: r for r in results}
    # THEN nearly all answerable ones are answered with the known words from the known page
    right, abstained = [], []
    for question in questions:
        answer = by_id[question["id"]]
        cited = [c for c in answer["citations"] if c["document"]["name"] == question.get("document")]
        on_page = [c for c in cited if not question["pages"] or c["page"] in question["pages"]]
        if not question["unanswerable"] and not answer["abstained"]:
            right.append(holds([c["quote"] for c in on_page], question["answer"]))
        if question["unanswerable"]:
            abstained.append(answer["abstained"])
    answerable = sum(not q["unanswerable"] for q in questions)
    assert sum(right) >= answerable - 3
    # AND the documents' silence is said aloud
    assert sum(abstained) >= len(abstained) - 1


def test_a_streamed_answer_cites_boxes_on_the_page(room: Room, questions: list[dict[str, Any]]) -> None:
    question = next(q for q in questions if q["id"] == "contract-termination-notice")
    (answer,) = room.run("ask", question["question"], "--style", "fluent", "--json")
    assert not answer["abstained"]
    citation = next(c for c in answer["citations"] if words(question["answer"]) in words(c["quote"]))
    assert citation["page"] in question["pages"]
    assert citation["locator"]["kind"] == "page"
    (span,) = citation["spans"]
    assert span["page"] == citation["page"]
    assert span["end"] - span["start"] == len(citation["quote"])
    assert span["boxes"]
    for x0, y0, x1, y1 in span["boxes"]:
        assert 0 <= x0 < x1 <= 600
        assert 0 <= y0 < y1 <= 850
    assert {s["support"] for s in answer["sentences"]} <= {"supported", "partial", "unsupported"}
    assert answer["usage"]["completion_tokens"] > 0, "the language model wrote nothing"


def test_a_scanned_page_is_cited_with_boxes(room: Room, questions: list[dict[str, Any]]) -> None:
    question = next(q for q in questions if q["document"] and "scan" in q["document"])
    (answer,) = room.run("ask", question["question"], "--verbatim", "--json")
    citation = next(c for c in answer["citations"] if c["document"]["name"] == question["document"])
    assert citation["page"] == 1
    assert citation["spans"][0]["boxes"]


def test_ingesting_again_does_no_work(room: Room) -> None:
    *_, last = room.run("ingest", str(SAMPLES / "documents"), "--json")
    assert set(last["summary"]["outcomes"]) == {"unchanged"}
    assert last["summary"]["chunks"] == 0


def test_a_bad_file_is_named_the_rest_goes_on_and_the_exit_code_is_3(room: Room, tmp_path: Path) -> None:
    (tmp_path / "empty.pdf").write_bytes(b"")
    (tmp_path / "torn.pdf").write_bytes((SAMPLES / "documents" / "crane-maintenance-agreement.pdf").read_bytes()[:3000])
    (tmp_path / "good.txt").write_text("The gate code is changed every Monday.")
    *files, last = room.run("ingest", str(tmp_path), "-c", "bad", "--json", code=ExitCode.PARTIAL)
    outcomes = {Path(f["path"]).name: f for f in files}
    assert outcomes["good.txt"]["outcome"] == "indexed"
    for name in ("empty.pdf", "torn.pdf"):
        assert outcomes[name]["outcome"] in ("failed", "quarantined")
        assert outcomes[name]["reason"]
    assert last["summary"]["files"] == 3
    assert room.run("search", "When is the gate code changed?", "-c", "bad", "--json")[0]["hits"]


def test_deleting_leaves_nothing_to_answer_from(room: Room, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("The vault combination was chosen by Ottoline Fairweather.")
    (ingested, _) = room.run("ingest", str(tmp_path), "-c", "short-lived", "--json")
    question = "Who chose the vault combination?"
    assert room.run("search", question, "-c", "short-lived", "--json")[0]["hits"]
    (receipt,) = room.run("documents", "delete", ingested["document_id"], "--yes", "--json")
    assert receipt["destroyed"]["chunks"] == 1
    found = room.run("search", question, "--json")[0]["hits"]
    assert not [h for h in found if "Ottoline" in h["text"]]


# ------------------------------------------------------------------------------------------------ whole documents


def test_fields_of_an_agreement_come_with_their_pages(room: Room) -> None:
    fields = ("--field", "governing law", "--field", "date of the agreement:date", "--field", "franchise royalty:money")
    row, done = room.run("extract", "crane-maintenance-agreement.pdf", *fields, "--json")
    law, date, royalty = row["cells"]
    assert law["found"]
    assert "England and Wales" in words(law["citation"]["quote"])
    assert law["citation"]["page"] == 7
    assert date["value"] == "2025-04-01"
    assert not royalty["found"]
    assert (done["documents"], done["model"], done["reused"]) == (1, "extractive", 0)
    again = room.run("extract", "crane-maintenance-agreement.pdf", *fields, "--json")
    assert again[0] == row
    assert again[1]["reused"] == 3


def test_a_summary_is_made_of_sentences_of_its_document(room: Room) -> None:
    *points, done = room.run("summarise", "information-handling-policy.pdf", "-n", "4", "--json")
    assert len(points) == 4
    assert done["items"] == 4
    shown = room.run("documents", "show", "information-handling-policy.pdf", "--chunks", "--json")[0]
    text = words(" ".join(chunk["text"] for chunk in shown["chunk_list"]))
    for point in points:
        assert point["extract"]
        assert point["text"] in text
    assert len({point["citations"][0]["page"] for point in points}) > 1, "not all of one page"


# ------------------------------------------------------------------------------------------------ exit codes


def test_a_locked_data_directory_exits_11_and_names_the_holder(room: Room, capfd: pytest.CaptureFixture[str]) -> None:
    lock = DataLock(room.data_dir, purpose="the test")
    try:
        done = subprocess.run(
            [COMMAND, "search", "x", "--data-dir", str(room.data_dir)], capture_output=True, text=True, check=False
        )
    finally:
        lock.release()
    assert done.returncode == ExitCode.LOCKED
    assert f"the test (process {os.getpid()})" in done.stderr


def test_a_missing_model_exits_12(room: Room, tmp_path: Path) -> None:
    room.run("search", "x", code=ExitCode.MODEL_MISSING, STRONGROOM_MODELS_DIR=str(tmp_path))


def test_an_unknown_user_exits_15(room: Room) -> None:
    room.run("search", "x", "--as", "mallory", code=ExitCode.NOT_PERMITTED)


def test_another_embedders_index_exits_13_and_reindex_mends_it(room: Room) -> None:
    with sqlite3.connect(room.data_dir / "catalog.sqlite") as db:
        db.execute("UPDATE meta SET value = 'another:embedder' WHERE key = 'index.fingerprint'")
    db.close()
    room.run("search", "x", code=ExitCode.INDEX_MISMATCH)
    room.run("reindex")
    assert room.run("search", "liability", "--json")[0]["hits"]


def test_a_forged_audit_entry_exits_14(room: Room, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy_sparse(room.data_dir, copy)
    with sqlite3.connect(copy / "catalog.sqlite") as db:
        db.execute("UPDATE audit SET body = replace(body, 'ingest', 'nothing') WHERE seq = 1")
    db.close()
    Room(copy, room.prefix).run("audit", "verify", code=ExitCode.INTEGRITY)
