"""What needs a password or a key is refused by that name, and cipher text is never taken for text; Outlook messages."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest.mime import detect
from ingest.parse import parse_file
from strongroom.errors import LOCKED, QuarantineError
from tests.compound import compound_file, locked_doc, locked_xls, outlook_message

ARMOUR = b"\n-----BEGIN PGP MESSAGE-----\nVersion: 2.6.2\n\nhIwDY32hYGCE8MkBA/wOu7d45aUxF4Q0RKJprD3v5Z9K1YcRJ2fve87l\n"


class Held:
    """Keeps what lies inside."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.refused: dict[str, str] = {}
        self._part = b""

    def write(self, data: bytes) -> None:
        self._part += data

    def end(self, path: str, refused: str | None) -> None:
        if refused is None:
            self.data[path] = self._part
        else:
            self.refused[path] = refused
        self._part = b""


def test_an_outlook_message_is_read_with_its_attachments(tmp_path: Path) -> None:
    path = outlook_message(
        tmp_path / "a.msg", subject="Quay", body="The rent is due.\r\n", attachments={"a.txt": b"about bronze"}
    )
    assert detect(path) == "application/vnd.ms-outlook"
    held = Held()
    document = parse_file(path, detect(path), members=held)
    assert document.title == "Quay"
    assert "To: Bob <bob@example.org>" in document.text
    assert "Subject: Quay\n\nThe rent is due." in document.text
    assert document.text.endswith("Attachments: a.txt\n\n")
    assert [(p.locator.kind, p.locator.label) for p in document.pages] == [("message", "Quay")]
    assert held.data == {"a.txt": b"about bronze"}


def test_half_an_outlook_message_is_refused(tmp_path: Path) -> None:
    path = compound_file(tmp_path / "a.msg", {"__substg1.0_0037001F": b"a\0"})
    assert detect(path) == "application/vnd.ms-outlook"
    with pytest.raises(Exception, match="damaged message"):
        parse_file(path, detect(path))


def test_a_message_whose_parts_are_cipher_text_is_quarantined(tmp_path: Path) -> None:
    # as Outlook keeps PGP/MIME: no body, the cipher text an attachment of no telling name
    path = outlook_message(
        tmp_path / "a.msg", subject="Quay", body="", attachments={"ATT1.bin": b"Version: 1\n", "ATT2.bin": ARMOUR}
    )
    with pytest.raises(QuarantineError, match="an encrypted message"):
        parse_file(path, detect(path))


def test_cipher_text_beside_a_readable_body_is_refused_alone(tmp_path: Path) -> None:
    path = outlook_message(tmp_path / "a.msg", subject="Quay", body="The key follows.", attachments={"k.asc": ARMOUR})
    held = Held()
    document = parse_file(path, detect(path), members=held)
    assert "The key follows." in document.text
    assert held.data == {}
    assert held.refused["k.asc"].startswith("encrypted with PGP")


def test_a_body_or_a_text_file_of_cipher_text_is_quarantined(tmp_path: Path) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.org", "bob@example.org", "Quay"
    message.set_content(ARMOUR.decode())
    (tmp_path / "a.eml").write_bytes(bytes(message))
    (tmp_path / "a.asc").write_bytes(ARMOUR)
    for name in ("a.eml", "a.asc"):
        with pytest.raises(QuarantineError, match="encrypted"):
            parse_file(tmp_path / name, detect(tmp_path / name))


@pytest.mark.parametrize("passwords", [(), ("wrong", "wrong too")])
@pytest.mark.parametrize(
    ("make", "mime"), [(locked_doc, "application/msword"), (locked_xls, "application/vnd.ms-excel")]
)
def test_legacy_office_files_under_a_password_say_so(
    tmp_path: Path, make: object, mime: str, passwords: tuple[str, ...]
) -> None:
    path: Path = make(tmp_path / "a")  # type: ignore[operator]
    assert detect(path) == mime
    with pytest.raises(QuarantineError, match=LOCKED) as caught:
        parse_file(path, mime, passwords=passwords)
    assert "--password-file" in caught.value.hint
