"""One run over documents made to hurt: each ends with a reason or is read, and the next one is none the worse."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.limits import Limits
from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.config import load
from strongroom.types import IngestRequest
from tests import hostile_samples as make
from tests.campaigns.hostile import Memory, tree_memory
from tests.fakes import FakeModels
from tests.ingest_samples import attach, text_pdf
from tests.integration.test_ingest_containers import Room

ROOT = Path(__file__).parents[2]
DEEP = 100_000
LAST = "zz-after-all.txt"
READ = ""  # the reason of a file that is indexed
NOTHING = "No text "
MAIL = "From: a@example.org\nTo: b@example.org\nSubject: x\nMIME-Version: 1.0\n"


def _mail(path: Path) -> None:
    parts = "".join(f'Content-Type: multipart/mixed; boundary="b{i}"\n\n--b{i}\n' for i in range(3000))
    path.write_text(MAIL + parts)


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "arrays.pdf": (lambda path: make.deep_arrays_pdf(path, DEEP), NOTHING),
    "attached.pdf": (lambda path: attach(text_pdf(path, "the rent is due"), {"in.pdf": b"%PDF-1.4"}), READ),
    "bomb.pdf": (lambda path: make.bomb_pdf(path, 600 << 20), "memory"),
    "drawn.pdf": (
        lambda path: make.giant_page_pdf(path, 10**6, content="0 0 m 900000 900000 l S\n" * 60),
        NOTHING,
    ),
    "font.pdf": (lambda path: make.broken_font_pdf(path, b"\0\1\0\0" + b"\xff" * 400), READ),
    "forms.pdf": (lambda path: make.nested_pdf(path, 300), NOTHING),
    "giant.pdf": (
        lambda path: make.giant_page_pdf(path, 10**6, content="BT /F1 12 Tf 72 700 Td (the rent) Tj ET"),
        READ,
    ),
    "pages.pdf": (lambda path: make.many_pages_pdf(path, 100_000), NOTHING),
    "tree.pdf": (make.endless_tree_pdf, "Damaged PDF"),
    "header.png": (lambda path: make.png_header(path, 100_000), "over the limit"),
    "picture.png": (lambda path: make.png_bomb(path, 11_000), NOTHING),
    "remark.png": (lambda path: make.png_text_bomb(path, 300 << 20), "Damaged image"),
    "endless.tiff": (make.endless_tiff, NOTHING),
    "frames.tiff": (lambda path: make.tiff_bomb(path, 30_000, 2), "over the limit"),
    "deep.html": (_text(f"<html><body>{'<div>' * DEEP}the rent"), "nested too deeply"),
    "deep.json": (_text("[" * DEEP + "]" * DEEP), READ),
    "deep.xml": (_text(f'<?xml version="1.0"?>{"<a>" * DEEP}the rent{"</a>" * DEEP}'), READ),
    "deep.rtf": (_text("{\\rtf1 " + "{" * DEEP + "the rent" + "}" * DEEP + "}"), READ),
    "deep.eml": (_mail, "ested too deeply"),
    "laughs.docx": (
        lambda path: make.with_prolog(make.office(path), path, make.LAUGHS, uses="&j;"),
        "word/document.xml declares",
    ),
    "self.docx": (make.self_embedding_docx, READ),
    "wide.csv": (_text("," * 3_000_000 + "\na,b"), "cells"),
    LAST: (_text("the rent is due"), READ),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("chosen", ["pdf", "other"])
def test_a_run_over_hostile_documents_goes_on_and_names_each(tmp_path: Path, chosen: str) -> None:
    # GIVEN a folder of them
    hostile = {name: case for name, case in HOSTILE.items() if name.endswith(".pdf") == (chosen == "pdf")}
    hostile[LAST] = HOSTILE[LAST]
    folder = tmp_path / "source"
    folder.mkdir()
    for name, (write, _reason) in hostile.items():
        write(folder / name)
    room = Room(tmp_path / "data")
    room.limits = Limits(seconds=200, total_seconds=280)
    before = tree_memory(os.getpid())  # this process may have run other tests
    memory = Memory(os.getpid())
    memory.start()

    # WHEN it is ingested
    _, found = room.ingest(folder)
    peak = memory.stop()

    # THEN each is read or says why not, and memory and what is stored are in order
    got = {name: "" if outcome.outcome == "indexed" else str(outcome.reason) for name, outcome in found.items()}
    if chosen == "pdf":
        assert got.pop("attached.pdf!/in.pdf").startswith("Damaged PDF")
    wrong = {name: got.get(name) for name, (_, reason) in hostile.items() if not _fits(got.get(name), reason)}
    assert wrong == {}
    assert got.keys() == hostile.keys()
    assert peak - before < 3 << 30
    room.check()
    room.bench.close()


def _fits(got: str | None, reason: str) -> bool:
    return got is not None and (got == READ if reason == READ else reason in got)


_KILLED = """
import json, sys
from strongroom.app.appliance import Appliance
from strongroom.config import load
from strongroom.access import LOCAL_USER
from strongroom.types import IngestRequest
from tests.fakes import FakeModels
appliance = Appliance(load({"data_dir": sys.argv[1]}).settings, purpose="test", models=FakeModels())
appliance.as_user(LOCAL_USER).ingest(IngestRequest((sys.argv[2],)), on_event=lambda _event: None)
"""


def test_members_that_a_killed_run_left_in_the_spool_are_gone_after_the_next_start(tmp_path: Path) -> None:
    # GIVEN an ingest that is killed while what lies inside an archive waits in the spool
    folder, data = tmp_path / "source", tmp_path / "data"
    folder.mkdir()
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for number in range(60):
            archive.writestr(f"{number}.txt", f"letter {number} about the rent " * 20)
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(data), str(folder)], cwd=ROOT)
    patience = time.monotonic() + 120
    while not list((data / "spool").glob("member-*")):
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((data / "spool").glob("member-*"))

    # WHEN the data directory is opened again THEN the spool is empty, and the next run takes every member in
    appliance = Appliance(load({"data_dir": data}).settings, purpose="test", models=FakeModels())
    try:
        spool = data / "spool"
        assert not spool.exists() or list(spool.iterdir()) == []
        engine = appliance.as_user(LOCAL_USER)
        engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
        assert len(list(engine.documents())) == 61
        assert list(spool.glob("member-*")) == []
    finally:
        appliance.close()
