"""Upload jobs: spooling, limits, cancelling, and that one bad file never stops a run."""

from __future__ import annotations

import json
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from server.jobs import IngestJob
from strongroom.client import upload
from strongroom.errors import CancelledError, IndexUnreachableError, StrongroomError, UsageError
from strongroom.types import FileOutcome, IngestEvent, IngestOptions, IngestRequest, SourceFile
from tests.fakes_engine import FakeEngine
from tests.server_fixtures import Served, served, write_documents


def _outcomes(events: list[IngestEvent]) -> dict[str, str]:
    return {Path(e.path).name: e.outcome for e in events if isinstance(e, FileOutcome)}


def _ingest(up: Served, *paths: Path, **options: Any) -> tuple[dict[str, str], Any]:
    events: list[IngestEvent] = []
    summary = up.client.ingest(IngestRequest(tuple(map(str, paths)), **options), on_event=events.append)
    return _outcomes(events), summary


def _open(up: Served, **fields: Any) -> str:
    return str(up.http.post("/api/ingest/jobs", json=fields).json()["id"])


def _put(up: Served, job: str, content: bytes, *, name: str = "a.txt", uri: str = "upload:///a.txt") -> Any:
    headers = {"X-Strongroom-Uri": quote(uri, safe=""), "X-Strongroom-Name": quote(name, safe="")}
    return up.http.put(f"/api/ingest/jobs/{job}/files", content=content, headers=headers)


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


def test_spooled_uploads_are_private_and_gone_afterwards(tmp_path: Path) -> None:
    modes: list[tuple[int, int, str]] = []

    class Looking(FakeEngine):
        def _take(self, file: SourceFile, collection: str, *, dry_run: bool) -> FileOutcome:
            path = Path(file.path)
            modes.append((stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode), path.name))
            return FakeEngine._take(self, file, collection, dry_run=dry_run)

    with served(tmp_path, engine=Looking()) as up:
        _ingest(up, write_documents(tmp_path / "docs"))
        assert {(file, folder) for file, folder, _ in modes} == {(0o600, 0o700)}
        assert not any("contract" in name for *_, name in modes)
        assert {Path(name).suffix for *_, name in modes} == {".pdf", ".txt", ".bin"}
        assert [p for p in up.spool.rglob("*") if p.is_file()] == []


def test_leftovers_of_a_killed_server_are_removed_at_start(tmp_path: Path) -> None:
    leftover = tmp_path / "spool" / "job" / "file.pdf"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("words")
    with served(tmp_path):
        assert not leftover.exists()


def test_a_file_over_the_limit_is_that_file_s_failure_and_nothing_more(tmp_path: Path) -> None:
    # GIVEN one file above the server's limit among good ones
    docs = write_documents(tmp_path / "docs")
    (docs / "huge.txt").write_bytes(b"x" * 5000)
    with served(tmp_path, max_file_bytes=4000) as up:
        # WHEN the folder is ingested
        outcomes, summary = _ingest(up, docs)
    # THEN it fails with the reason, and the rest is there
    assert outcomes["huge.txt"] == "failed"
    assert outcomes["canteen.txt"] == "indexed"
    assert summary.outcomes == {"indexed": 2, "quarantined": 1, "failed": 1}


def test_a_body_that_lies_about_its_size_is_cut_off_and_leaves_nothing(tmp_path: Path) -> None:
    with served(tmp_path, max_file_bytes=1000) as up:
        job = _open(up)
        headers = {"X-Strongroom-Uri": "u", "X-Strongroom-Name": "n"}
        body = (b"x" * 600 for _ in range(3))  # no length announced: sent in chunks
        response = up.http.put(f"/api/ingest/jobs/{job}/files", content=body, headers=headers)
        assert response.status_code == 413
        assert list((up.spool / job).iterdir()) == []


def test_an_unreadable_file_is_that_file_s_failure(tmp_path: Path) -> None:
    docs = write_documents(tmp_path / "docs")
    with served(tmp_path) as up:
        gone = SourceFile(str(docs / "gone.txt"), "upload:///gone.txt", "gone.txt", 3)
        here = SourceFile(str(docs / "canteen.txt"), "upload:///canteen.txt", "canteen.txt", 3)
        events: list[IngestEvent] = []
        up.client.ingest_files([gone, here], IngestOptions(), on_event=events.append)
    assert _outcomes(events) == {"gone.txt": "failed", "canteen.txt": "indexed"}


def test_unchanged_files_are_not_sent_again(tmp_path: Path) -> None:
    docs = write_documents(tmp_path / "docs")
    with served(tmp_path) as up:
        _ingest(up, docs)
        before = up.http.get("/metrics").text
        outcomes, _ = _ingest(up, docs)
        after = up.http.get("/metrics").text
    assert outcomes == {"Supply contract.pdf": "unchanged", "canteen.txt": "unchanged", "broken.bin": "quarantined"}

    def sent(text: str) -> float:
        line = next(x for x in text.splitlines() if x.startswith("strongroom_http_requests_total") and "/files" in x)
        return float(line.rsplit(" ", 1)[1])

    assert sent(after) - sent(before) == 1  # only the one that failed before is tried again


def test_more_files_than_slots_and_batches_all_arrive(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(150):
        (docs / f"{number:03}.txt").write_text(f"Memo {number}.")
    with served(tmp_path, upload_slots=2) as up:
        outcomes, summary = _ingest(up, docs)
    assert len(outcomes) == 150
    assert summary.outcomes == {"indexed": 150}


def test_a_path_that_does_not_exist_opens_no_job(tmp_path: Path) -> None:
    with served(tmp_path) as up:
        with pytest.raises(UsageError, match="no such file"):
            _ingest(up, tmp_path / "nowhere")
        assert "strongroom_ingest_jobs 0.0" in up.http.get("/metrics").text


def test_cancelling_stops_the_engine_and_raises(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(60):
        (docs / f"{number}.txt").write_text(f"Memo {number}.")
    cancel = threading.Event()
    with served(tmp_path, engine=FakeEngine(pause=0.02)) as up:
        with pytest.raises(CancelledError):
            up.client.ingest(IngestRequest((str(docs),)), on_event=lambda _event: cancel.set(), cancel=cancel)
        _wait(lambda: "strongroom_ingest_jobs 0.0" in up.http.get("/metrics").text)
        assert 0 < len(up.engine.documents()) < 60
        assert [p for p in up.spool.rglob("*") if p.is_file()] == []


def test_a_cancelled_walk_prunes_nothing(tmp_path: Path) -> None:
    # GIVEN a folder that is in the index
    docs = write_documents(tmp_path / "docs")
    with served(tmp_path) as up:
        _ingest(up, docs)
        # WHEN a pruning run over it is cancelled before it offered anything
        job = _open(up, roots=[docs.absolute().as_uri()], prune=True)
        up.http.delete(f"/api/ingest/jobs/{job}")
        lines = up.http.get(f"/api/ingest/jobs/{job}/events").text.splitlines()
        # THEN it ends as cancelled and nothing is gone
        assert '"code": 130' in lines[-1]
        assert len(up.engine.documents()) == 2


def test_an_engine_that_gives_up_is_the_run_s_error(tmp_path: Path) -> None:
    class Broken(FakeEngine):
        def _take(self, file: SourceFile, collection: str, *, dry_run: bool) -> FileOutcome:
            raise IndexUnreachableError("the index went away", hint="Start it.")

    with served(tmp_path, engine=Broken()) as up, pytest.raises(IndexUnreachableError, match="went away"):
        _ingest(up, write_documents(tmp_path / "docs"))


def test_a_defect_of_the_engine_ends_the_job_without_detail(tmp_path: Path) -> None:
    class Defective(FakeEngine):
        def _take(self, file: SourceFile, collection: str, *, dry_run: bool) -> FileOutcome:
            raise RuntimeError("secret words")

    with served(tmp_path, engine=Defective()) as up, pytest.raises(StrongroomError) as caught:
        _ingest(up, write_documents(tmp_path / "docs"))
    assert "secret" not in str(caught.value)


def test_a_silent_client_s_job_is_cancelled(tmp_path: Path) -> None:
    with served(tmp_path, job_idle=0.2) as up:
        job = _open(up)
        _wait(lambda: "strongroom_ingest_jobs 0.0" in up.http.get("/metrics").text)
        assert _put(up, job, b"late").status_code in {400, 404}


def test_a_job_that_has_to_wait_says_its_place_takes_files_and_runs_in_its_turn(tmp_path: Path) -> None:
    with served(tmp_path, ingest_threads=1, jobs_waiting=2, heartbeat=0.05) as up:
        # GIVEN one job that is open, and two that wait
        first, second, third = _open(up), _open(up), _open(up)
        assert up.http.post("/api/ingest/jobs", json={}).status_code == 429
        assert _put(up, third, b"Words of the third.").status_code == 202
        with up.http.stream("GET", f"/api/ingest/jobs/{third}/events") as response:
            lines = response.iter_lines()
            assert json.loads(next(lines))["progress"]["stage"] == "waiting, 1 before you"
            # WHEN those before it end THEN it moves up and runs
            for job in (first, second, third):
                up.http.post(f"/api/ingest/jobs/{job}/close")
            last = [json.loads(line) for line in lines][-1]
        assert last["summary"]["outcomes"] == {"indexed": 1}


def test_another_user_s_job_looks_like_none(tmp_path: Path) -> None:
    with served(tmp_path) as up:
        job = _open(up)
        headers = {"X-Strongroom-As": "other"}
        theirs = up.http.get(f"/api/ingest/jobs/{job}/events", headers=headers)
        none = up.http.get("/api/ingest/jobs/none/events", headers=headers)
    assert theirs.status_code == 404
    assert theirs.content == none.content


@pytest.mark.parametrize(
    "headers", [{}, {"X-Strongroom-Uri": "u"}, {"X-Strongroom-Uri": "%0A", "X-Strongroom-Name": "n"}]
)
def test_uploads_need_a_clean_uri_and_name(tmp_path: Path, headers: dict[str, str]) -> None:
    with served(tmp_path) as up:
        response = up.http.put(f"/api/ingest/jobs/{_open(up)}/files", content=b"x", headers=headers)
    assert response.status_code == 400


def test_a_client_s_file_name_is_never_a_path(tmp_path: Path) -> None:
    with served(tmp_path) as up:
        job = _open(up)
        assert _put(up, job, b"Words here.", name="../../../escape.txt").status_code == 202
        up.http.post(f"/api/ingest/jobs/{job}/close")
        up.http.get(f"/api/ingest/jobs/{job}/events")
        assert not list(tmp_path.rglob("escape.txt"))
        assert [d.name for d in up.engine.documents()] == ["../../../escape.txt"]


def test_events_can_be_read_again_from_the_start(tmp_path: Path) -> None:
    with served(tmp_path) as up:
        job = _open(up)
        _put(up, job, b"Words here.")
        up.http.post(f"/api/ingest/jobs/{job}/close")
        first = up.http.get(f"/api/ingest/jobs/{job}/events").text
        again = up.http.get(f"/api/ingest/jobs/{job}/events").text
    wanted = [line for line in first.splitlines() if '"outcome"' in line or '"summary"' in line]
    assert [line for line in again.splitlines() if '"outcome"' in line or '"summary"' in line] == wanted
    assert '"summary"' in wanted[-1]


def test_an_upload_that_ends_after_the_job_was_closed_leaves_nothing_in_the_spool(tmp_path: Path) -> None:
    go = threading.Event()

    class Waiting(FakeEngine):
        def ingest_files(self, *args: Any, **more: Any) -> Any:
            go.wait(10)
            return FakeEngine.ingest_files(self, *args, **more)

    with served(tmp_path, engine=Waiting()) as up:
        job = _open(up)

        def body() -> Any:
            yield b"words of"
            up.http.post(f"/api/ingest/jobs/{job}/close")
            yield b" a document"

        headers = {"X-Strongroom-Uri": "u", "X-Strongroom-Name": "late.txt"}
        response = up.http.put(f"/api/ingest/jobs/{job}/files", content=body(), headers=headers)
        left = [p for p in up.spool.rglob("*") if p.is_file()]
        go.set()
    assert response.status_code == 400
    assert left == []


def test_a_file_that_shrinks_while_it_is_sent_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = write_documents(tmp_path / "docs")
    shrinking = docs / "shrinking.txt"
    shrinking.write_text("Rent is due on the first of the month.")
    pieces = upload._pieces

    def cut(path: str, size: int) -> Any:
        if path == str(shrinking):
            shrinking.write_text("Rent")
        return pieces(path, size)

    monkeypatch.setattr(upload, "_pieces", cut)
    with served(tmp_path) as up:
        outcomes, summary = _ingest(up, docs)
    assert outcomes["shrinking.txt"] == "failed"
    assert summary.outcomes["indexed"] == 2


def test_an_upload_to_a_job_that_ended_meanwhile_is_refused_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a job that ends, and takes its folder along, after it had room for the upload
    async def ends(job: IngestJob) -> None:
        job.closed = True
        shutil.rmtree(job.folder)

    monkeypatch.setattr(IngestJob, "slot", ends)
    with served(tmp_path) as up:
        job = up.http.post("/api/ingest/jobs", json={"collection": "default"}).json()["id"]
        # WHEN the file is sent
        headers = {"X-Strongroom-Uri": "file:///a.txt", "X-Strongroom-Name": "a.txt"}
        reply = up.http.put(f"/api/ingest/jobs/{job}/files", content=b"words", headers=headers)
    # THEN it is the job's state that is told, not a defect of the server
    assert reply.status_code == 400
    assert "takes no more files" in reply.text


def test_an_ocr_mode_reaches_the_engine_with_the_offers_and_with_the_run(tmp_path: Path) -> None:
    with served(tmp_path) as up:
        request = IngestRequest(paths=(str(write_documents(tmp_path / "docs")),), ocr="always")
        up.client.ingest(request, on_event=lambda _event: None)
        up.client.unchanged([("file:///a", "0" * 64)], collection="default", ocr="never")
        assert set(up.engine.ocr_modes[:-1]) == {"always"}
        assert len(up.engine.ocr_modes) >= 3
        assert up.engine.ocr_modes[-1] == "never"
