"""Archives, mailboxes and attachments through real parser children and a real catalogue: what is inside is found."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import openpyxl
import py7zr
import pytest
import pyzipper
from msoffcrypto.format.ooxml import OOXMLFile

from ingest.limits import Limits
from ingest.members import entries_of
from ingest.mime import detect
from ingest.pipeline import Pipeline
from ingest.sandbox import ParserPool
from ingest.work import Parts
from strongroom.catalog.records import Begun
from strongroom.errors import QuarantineError
from strongroom.types import FileOutcome, IngestEvent, IngestOptions, IngestSummary, Member, SourceFile
from tests.fakes import FakeTokenizer
from tests.ingest_bench import Bench, faults, keys_of_nothing, listing, worded
from tests.ingest_samples import attach, lock_pdf, text_pdf

FILES = Path(__file__).parent.parent / "files"


class Room:
    """A data directory whose parsers are the real ones."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.bench = Bench.open(root)
        self.spool = root / "spool"
        self.limits = Limits()

    def ingest(self, folder: Path, **more: object) -> tuple[IngestSummary, dict[str, FileOutcome]]:
        """Run over a folder; outcomes by path below it."""
        found: dict[str, FileOutcome] = {}

        def on_event(event: IngestEvent) -> None:
            if isinstance(event, FileOutcome):
                name = event.path.removeprefix(f"{folder}/")
                assert name not in found, f"two outcomes of {name}"
                found[name] = event

        def pool(_workers: int | None, _ocr: object) -> ParserPool:
            return ParserPool(1, tokenizer=FakeTokenizer(), spool=self.spool, limits=self.limits)

        bench = self.bench
        pipeline = Pipeline(
            Parts(
                catalog=bench.catalog,
                blobs=bench.blobs,
                index=bench.index,
                embedder=bench.embedder,
                pool=pool,
                detect=lambda file: detect(Path(file.path)),
                wording=worded,
                settings=bench.settings,
            )
        )
        passwords = more.pop("passwords", ())
        options = IngestOptions(roots=(folder.as_uri(),), **more)  # type: ignore[arg-type]
        summary = pipeline.run(listing(folder), options, on_event=on_event, passwords=passwords)  # type: ignore[arg-type]
        return summary, found

    def check(self) -> None:
        """Catalogue, index, originals and keys agree, and nothing waits in the spool."""
        assert faults(self.bench) == []
        assert list(self.spool.iterdir()) == []


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    opened = Room(tmp_path / "data")
    yield opened
    opened.bench.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


def zipped(**members: str | bytes) -> bytes:
    """A zip of members; `__` in a name stands for a slash and `_dot_` for a dot."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return out.getvalue()


def message(subject: str, text: str, **headers: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ann@example.org", "bob@example.org", subject
    made["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content(text)
    return made


def outcomes(found: dict[str, FileOutcome]) -> dict[str, str]:
    return {name: outcome.outcome for name, outcome in sorted(found.items())}


def test_members_of_archives_within_archives_are_documents_of_their_own(room: Room, folder: Path) -> None:
    # GIVEN a zip that holds a text, a tar and an encrypted-looking nothing
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        info = tarfile.TarInfo("deep/letter.txt")
        info.size = len(b"the deepest letter speaks of amber")
        archive.addfile(info, io.BytesIO(b"the deepest letter speaks of amber"))
    (folder / "all.zip").write_bytes(
        zipped(a_dot_txt="about bronze", b__c_dot_txt="about copper", inner_dot_tgz=inner.getvalue())
    )

    # WHEN it is ingested twice
    _, found = room.ingest(folder)
    room.check()
    _, again = room.ingest(folder)

    # THEN each is a document, named by where it lies, linked to what holds it, and the second run does nothing
    expected = [
        "all.zip",
        "all.zip!/a.txt",
        "all.zip!/b/c.txt",
        "all.zip!/inner.tgz",
        "all.zip!/inner.tgz!/deep/letter.txt",
    ]
    assert outcomes(found) == dict.fromkeys(expected, "indexed")
    assert outcomes(again) == dict.fromkeys(expected, "unchanged")
    shown = {d.name: d for d in room.bench.catalog.documents(room.bench.catalog.access_for("local"))}
    assert shown["letter.txt"].parent == shown["inner.tgz"].id
    assert shown["inner.tgz"].parent == shown["all.zip"].id
    assert shown["all.zip"].parent is None
    assert (shown["all.zip"].chunks, shown["a.txt"].chunks) == (0, 1)


def test_files_attached_to_a_pdf_are_documents_inside_it(room: Room, folder: Path) -> None:
    # GIVEN a PDF with a text and an archive attached, and another that holds the first
    path = text_pdf(folder / "report.pdf", "The report speaks of iron.")
    attached = {"notes.txt": b"the notes speak of amber", "more.zip": zipped(a_dot_txt="about bronze")}
    attach(path, attached)
    attach(text_pdf(folder / "cover.pdf", "A cover."), {"r.pdf": path.read_bytes()})
    # WHEN it is ingested twice
    _, found = room.ingest(folder)
    room.check()
    _, again = room.ingest(folder)
    # THEN each is a document of its own at any depth, and the second run does nothing
    inside = ["", "!/more.zip", "!/more.zip!/a.txt", "!/notes.txt"]
    expected = ["cover.pdf", *(f"cover.pdf!/r.pdf{path}" for path in inside), *(f"report.pdf{path}" for path in inside)]
    assert outcomes(found) == dict.fromkeys(sorted(expected), "indexed")
    assert outcomes(again) == dict.fromkeys(sorted(expected), "unchanged")
    # AND taking the attachments out of the file takes the documents out too
    text_pdf(path, "The report speaks of iron alone.")
    _, changed = room.ingest(folder)
    assert changed["report.pdf"].outcome == "indexed"
    assert {changed[f"report.pdf{path}"].outcome for path in ("!/more.zip", "!/notes.txt")} == {"removed"}
    room.check()


def test_pruning_and_deleting_take_what_is_inside_along(room: Room, folder: Path) -> None:
    (folder / "all.zip").write_bytes(zipped(a_dot_txt="about bronze", inner_dot_zip=zipped(b_dot_txt="about copper")))
    room.ingest(folder)
    (folder / "all.zip").unlink()
    _, found = room.ingest(folder)
    assert outcomes(found) == {"all.zip": "vanished"}
    _, found = room.ingest(folder, prune=True, prune_all=True)
    assert outcomes(found) == {"all.zip": "removed"}
    assert room.bench.catalog.documents(room.bench.catalog.access_for("local")) == []
    assert room.bench.index.count() == 0
    assert keys_of_nothing(room.bench) == 0
    room.check()


def test_a_changed_archive_changes_drops_and_adds_what_it_holds(room: Room, folder: Path) -> None:
    (folder / "all.zip").write_bytes(zipped(a_dot_txt="about bronze", b_dot_txt="about copper", c_dot_txt="about zinc"))
    room.ingest(folder)
    (folder / "all.zip").write_bytes(zipped(a_dot_txt="about bronze", b_dot_txt="about iron", d_dot_txt="about lead"))
    _, found = room.ingest(folder)
    assert outcomes(found) == {
        "all.zip": "indexed",
        "all.zip!/a.txt": "unchanged",
        "all.zip!/b.txt": "indexed",
        "all.zip!/c.txt": "removed",
        "all.zip!/d.txt": "indexed",
    }
    room.check()


def test_members_that_a_killed_run_left_out_are_taken_by_the_next(room: Room, folder: Path) -> None:
    # GIVEN an archive of which one member never got into the catalogue, as after a kill
    (folder / "all.zip").write_bytes(zipped(a_dot_txt="about bronze", b_dot_txt="about copper"))
    _, found = room.ingest(folder)
    room.bench.catalog.delete_document(str(found["all.zip!/b.txt"].document_id), by="test", bury=False)
    # WHEN the unchanged archive is ingested again THEN it is opened again, for that member alone
    _, found = room.ingest(folder)
    assert outcomes(found) == {
        "all.zip": "indexed",
        "all.zip!/a.txt": "unchanged",
        "all.zip!/b.txt": "indexed",
    }
    room.check()


def test_a_member_that_was_deleted_on_purpose_does_not_open_its_archive_again(room: Room, folder: Path) -> None:
    (folder / "all.zip").write_bytes(zipped(a_dot_txt="about bronze", b_dot_txt="about copper"))
    _, found = room.ingest(folder)
    room.bench.catalog.delete_document(str(found["all.zip!/b.txt"].document_id), by="test")
    _, found = room.ingest(folder)
    assert outcomes(found) == {"all.zip": "unchanged", "all.zip!/a.txt": "unchanged"}


def test_a_moved_archive_takes_along_what_is_inside(room: Room, folder: Path) -> None:
    (folder / "all.zip").write_bytes(zipped(a_dot_txt="about bronze", inner_dot_zip=zipped(b_dot_txt="about copper")))
    _, found = room.ingest(folder)
    moved = SourceFile(str(folder / "new.zip"), (folder / "new.zip").as_uri(), "new.zip", 1)
    room.bench.catalog.move_documents([(str(found["all.zip"].document_id), moved)])
    (folder / "all.zip").rename(folder / "new.zip")
    _, again = room.ingest(folder)
    assert outcomes(again) == dict.fromkeys(
        ["new.zip", "new.zip!/a.txt", "new.zip!/inner.zip", "new.zip!/inner.zip!/b.txt"], "unchanged"
    )
    assert again["new.zip!/a.txt"].document_id == found["all.zip!/a.txt"].document_id


def test_attachments_get_the_grants_of_their_mail(room: Room, folder: Path) -> None:
    mail = message("Budget", "Please see the sheet.", Message_ID="<1@example.org>")
    mail.add_attachment(b"item,amount\ncrane,12\npier,9\n", maintype="text", subtype="csv", filename="budget.csv")
    mail.add_attachment(message("Earlier", "I wrote about the quay."))
    (folder / "mail.eml").write_bytes(mail.as_bytes())
    _, found = room.ingest(folder, groups=("board",))
    assert outcomes(found) == dict.fromkeys(["mail.eml", "mail.eml!/Earlier.eml", "mail.eml!/budget.csv"], "indexed")
    room.bench.catalog.ensure_user("carol", "viewer", ("board",))
    names = {d.name for d in room.bench.catalog.documents(room.bench.catalog.access_for("carol"))}
    assert names == {"mail.eml", "Earlier.eml", "budget.csv"}
    room.check()


def test_messages_of_a_mailbox_are_documents_and_repeated_ones_stand_once(room: Room, folder: Path) -> None:
    one, two = (
        message("Cranes", "about cranes", Message_ID="<1@x>"),
        message("Piers", "From here\n\nFrom there on", Message_ID="<2@x>"),
    )
    raw = b"".join(
        b"From ann Mon Mar  2 10:00:00 2026\n" + m.as_bytes().replace(b"\nFrom ", b"\n>From ") + b"\n"
        for m in (one, two, one)
    )
    (folder / "all.mbox").write_bytes(raw)
    _, found = room.ingest(folder)
    assert outcomes(found) == dict.fromkeys(
        ["all.mbox", "all.mbox!/1@x/Cranes.eml", "all.mbox!/2@x/Piers.eml"], "indexed"
    )
    room.check()


def test_a_7z_archive_and_a_single_compressed_file_are_containers_too(room: Room, folder: Path) -> None:
    with py7zr.SevenZipFile(folder / "a.7z", "w") as archive:
        archive.writestr("about bronze", "deep/a.txt")
        archive.writestr("", "empty.txt")
    (folder / "b.csv.gz").write_bytes(gzip.compress(b"item,amount\ncrane,12\npier,9\n"))
    _, found = room.ingest(folder)
    assert outcomes(found) == {
        "a.7z": "indexed",
        "a.7z!/deep/a.txt": "indexed",
        "a.7z!/empty.txt": "failed",
        "b.csv.gz": "indexed",
        "b.csv.gz!/content.csv": "indexed",
    }
    room.check()


# ------------------------------------------------------------------------------------------------ hostile


def reasons(found: dict[str, FileOutcome]) -> dict[str, str]:
    return {name: str(outcome.reason) for name, outcome in found.items() if outcome.outcome == "quarantined"}


def test_members_that_leave_their_archive_are_refused_by_name_and_the_others_are_read(room: Room, folder: Path) -> None:
    # GIVEN paths that climb out, absolute ones, a drive, a link, a device, and twice the same name and content
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../up.txt", "/etc/abs.txt", "C:\\drive.txt", "ok.txt", "same.txt", "same.txt", "Same.txt"):
            info = tarfile.TarInfo(name)
            info.size = 12
            archive.addfile(info, io.BytesIO(b"about bronze"))
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("device", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    (folder / "a.tar").write_bytes(out.getvalue())
    _, found = room.ingest(folder)
    bad = {name.removeprefix("a.tar!/"): reason for name, reason in reasons(found).items()}
    assert bad.keys() == {"(..)/up.txt", "etc/abs.txt", "C:/drive.txt", "link", "hard", "device"}
    assert "leaves the archive" in bad["(..)/up.txt"]
    assert "symbolic link" in bad["link"]
    good = [name for name, outcome in found.items() if outcome.outcome == "indexed"]
    assert sorted(good) == ["a.tar", "a.tar!/Same.txt", "a.tar!/ok.txt", "a.tar!/same.txt", "a.tar!/same~2.txt"]
    room.check()


def test_bombs_are_quarantined_as_bombs(room: Room, folder: Path) -> None:
    # GIVEN a member that unpacks without end, the same in gzip and xz, and members that share their bytes
    huge = bytes(150 << 20)
    (folder / "zip.zip").write_bytes(zipped(a_dot_txt=huge))
    (folder / "gz.gz").write_bytes(gzip.compress(huge, 9))
    (folder / "xz.xz").write_bytes(lzma.compress(huge, preset=1))
    (folder / "overlap.zip").write_bytes(overlapping())
    (folder / "fine.txt").write_text("about bronze")
    _, found = room.ingest(folder)
    assert outcomes(found) == {
        "fine.txt": "indexed",
        **dict.fromkeys(["gz.gz", "overlap.zip", "xz.xz", "zip.zip"], "quarantined"),
    }
    assert "members overlap" in reasons(found)["overlap.zip"]
    assert all("decompression bomb" in reasons(found)[name] for name in ("gz.gz", "xz.xz", "zip.zip"))
    room.check()


def overlapping() -> bytes:
    """Two directory entries for the same bytes: the idea of Fifield's bomb, with two members in place of thousands."""
    raw = zipped(a_dot_txt="about bronze")
    start = raw.index(b"PK\x01\x02")
    end = raw.index(b"PK\x05\x06")
    entry = raw[start:end]
    tail = bytearray(raw[end:])
    tail[8:12] = struct.pack("<HH", 2, 2)
    tail[12:16] = struct.pack("<I", 2 * len(entry))
    return raw[:start] + entry + entry + bytes(tail)


def test_an_archive_inside_itself_and_one_nested_without_end_are_stopped(room: Room, folder: Path) -> None:
    inner = b"the innermost"
    for _ in range(9):
        inner = zipped(x_dot_zip=inner)
    (folder / "deep.zip").write_bytes(inner)
    _, found = room.ingest(folder)
    deepest = max(found, key=len)
    assert deepest == "deep.zip" + "!/x.zip" * 6
    assert "Nested too deeply" in reasons(found)[deepest]
    room.check()


def test_a_self_reproducing_archive_is_refused() -> None:
    begun = Begun("d", "v", "c")
    quine = SourceFile("", "file:///r.zip", "r.zip", 1)
    (inside,) = entries_of(quine, [Member("r.zip", "/r", 1)], begun=begun, inside=None, sha256="same")
    with pytest.raises(QuarantineError, match="self-reproducing"):
        inside.check_place("same")
    inside.check_place("another")


def test_locked_files_are_opened_by_a_password_of_the_run_and_quarantined_without(room: Room, folder: Path) -> None:
    # GIVEN a locked PDF, workbook, zip (AES), 7z and OpenDocument text
    shutil.copy(FILES / "locked.odt", folder / "e.odt")
    lock_pdf(folder / "a.pdf", "about bronze", "s3cret")
    lock_workbook(folder / "b.xlsx", "s3cret")
    with pyzipper.AESZipFile(folder / "c.zip", "w", encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(b"s3cret")
        archive.writestr("c.txt", "about copper")
    with py7zr.SevenZipFile(folder / "d.7z", "w", password="s3cret") as seven:
        seven.writestr("about zinc", "d.txt")
    # WHEN it is ingested without a password THEN each says so
    _, found = room.ingest(folder)
    assert {name: reason.split(":")[0].split(".")[0] for name, reason in reasons(found).items()} == dict.fromkeys(
        ["a.pdf", "b.xlsx", "c.zip!/c.txt", "d.7z", "e.odt"], "Password protected"
    )
    # WHEN the right password is among those of the run THEN they are read, and the password is nowhere on disk
    _, found = room.ingest(folder, passwords=("wrong", "s3cret"))
    expected = ["a.pdf", "b.xlsx", "c.zip", "c.zip!/c.txt", "d.7z", "d.7z!/d.txt", "e.odt"]
    assert outcomes(found) == dict.fromkeys(expected, "indexed")
    room.check()
    stored = [path for path in room.spool.parent.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert stored == []


def lock_workbook(path: Path, password: str) -> None:
    book = openpyxl.Workbook()
    book.active.append(["item", "bronze"])
    plain = io.BytesIO()
    book.save(plain)
    with path.open("wb") as out:
        OOXMLFile(plain).encrypt(password, out)
