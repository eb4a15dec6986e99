"""Bytes to text: decided by byte-order mark, then declared charset, then strict UTF-8, then statistics.

Must not guess silently: a decoding that loses characters leaves U+FFFD behind, which parsers report.
"""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"""(?:charset\s*=\s*["']?|<\?xml[^>]{0,80}encoding\s*=\s*["'])([A-Za-z0-9_.:-]{2,40})""", re.I)
_WESTERN = frozenset("äöüÄÖÜßéèêëàâîïôùûçñóíáúÉÈÀÇÑåøæÅØÆãõìòœ‘’“”„–—…€£©®™°§·•«»¿¡½¼ºª²³±×\xa0")
_SAMPLE = 64 * 1024


def looks_binary(data: bytes) -> bool:
    """True when these bytes are no text in any encoding that is tried here."""
    if not data or any(data.startswith(bom) for bom, _ in _BOMS) or _utf16_without_bom(data[:_SAMPLE]):
        return False
    sample = data[:_SAMPLE]
    control = sum(sample.count(bytes([b])) for b in (0, 1, 2, 3, 4, 5, 6, 7, 14, 15, 16, 17, 18, 19, 20, 127))
    return sample.count(0) > 0 or control > 0.01 * len(sample)


def decode(data: bytes) -> tuple[str, str]:
    """Text of `data` and the encoding used; line ends become `\\n`, a byte-order mark goes. Never raises."""
    encoding = _encoding_of(data)
    text = data.decode(encoding, "replace")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text, encoding


def _encoding_of(data: bytes) -> str:
    for bom, name in _BOMS:
        if data.startswith(bom):
            return name
    wide = _utf16_without_bom(data[:_SAMPLE])
    if wide:
        return wide
    declared = _DECLARED.search(data[:2048])
    if declared and (usable := _usable(declared.group(1).decode("ascii"), data)):
        return usable
    if _usable("utf-8", data) or _nearly_utf8(data):
        return "utf-8"
    if _western(data[:_SAMPLE]):
        return "cp1252"
    from charset_normalizer import from_bytes  # heavy tables: only for bytes that are not UTF-8

    best = from_bytes(data[:_SAMPLE]).best()
    if best is not None and (usable := _usable(best.encoding, data)):
        return usable
    return "cp1252"


def _nearly_utf8(data: bytes) -> bool:
    """True for UTF-8 with a few broken bytes: read as anything else, all of its other letters would be garbled.

    Other encodings hardly ever form a valid multi-byte sequence, so the broken ones outnumber them there.
    """
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return sum(not character.isascii() for character in text) - broken >= 10 * broken


def _western(sample: bytes) -> bool:
    """True when Windows-1252 makes of these bytes what Western European text holds.

    Statistics cannot tell it from its neighbours in a short text: "naïve" and "naďve" differ by the letters that
    people use, and that is what is asked here.
    """
    try:
        letters = [character for character in sample.decode("cp1252") if character.isalpha() or not character.isascii()]
    except UnicodeDecodeError:
        return False
    accents = [character for character in letters if not character.isascii()]
    # Cyrillic or Greek read as Windows-1252 is nearly all accents.
    return 0 < len(accents) < 0.5 * len(letters) and sum(character in _WESTERN for character in accents) >= 0.95 * len(
        accents
    )


def _usable(encoding: str, data: bytes) -> str | None:
    try:
        data.decode(encoding)
    except (LookupError, UnicodeError, ValueError):
        return None
    return encoding


def _utf16_without_bom(sample: bytes) -> str | None:
    """UTF-16 text of mostly Latin letters has a zero in every second byte; nothing else here does."""
    if len(sample) < 16:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) / 2
    if odd > 0.4 * half and even < 0.02 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.02 * half:
        return "utf-16-be"
    return None
