"""Office files under a password: opened with the first password that fits.

Microsoft's by msoffcrypto-tool (MIT), OpenDocument by `ingest.parse.lockedodf`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from strongroom.errors import LOCKED, LOCKED_HINT, ParseError, QuarantineError

# Types whose files may be encrypted as a whole; the first is what a modern one is before it is opened.
ENCRYPTED = "application/x-ole-encrypted"
ODF = "application/vnd.oasis.opendocument."
MAY_BE_LOCKED = frozenset(
    {
        *(ENCRYPTED, "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"),
        *(f"{ODF}text", f"{ODF}spreadsheet", f"{ODF}presentation"),
    }
)
_EXCELS_OWN = "VelvetSweatshop"  # what Excel encrypts with when a workbook is only protected against changes


def unlocked(path: Path, mime: str, passwords: Sequence[str]) -> Path | None:
    """A copy of the file without its password, in the temporary folder; `None` when it has none.

    Raises `QuarantineError` when no password fits, `ParseError` for damage and methods that are not known.
    """
    if mime.startswith(ODF):
        from ingest.parse.lockedodf import unlocked_odf

        return unlocked_odf(path, passwords)
    import msoffcrypto

    with path.open("rb") as file:
        try:
            office = msoffcrypto.OfficeFile(file)
            if not office.is_encrypted():
                return None
        except Exception as exc:
            if isinstance(exc, MemoryError):
                raise
            return None  # not its kind of file, or too damaged to tell: the format's own parser says which
        for password in (_EXCELS_OWN, *passwords):
            handle, name = tempfile.mkstemp(prefix="unlocked-", suffix=path.suffix, dir=os.environ.get("TMPDIR"))
            try:
                with os.fdopen(handle, "wb") as out:
                    office.load_key(password=password, **_CHECKED.get(office.format, {}))
                    office.decrypt(out)
            except Exception as exc:
                Path(name).unlink(missing_ok=True)
                if isinstance(exc, MemoryError):
                    raise
                if "unsupported" in str(exc).lower():
                    raise ParseError("encrypted by a method that is not known", hint="save an open copy") from exc
                continue
            return Path(name)
    raise QuarantineError(LOCKED, hint=LOCKED_HINT)


_CHECKED: dict[str, dict[str, bool]] = {"ooxml": {"verify_password": True}}
