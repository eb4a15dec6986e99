"""Bytes to text: decided by byte-order mark, then declared charset, then strict UTF-8, then statistics.

Must not guess silently: a decoding that loses characters leaves U+FFFD behind, which parsers report.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"""(?:charset\s*=\s*["']?|<\?xml[^>]{0,80}encoding\s*=\s*["'])([A-Za-z0-9_.:-]{2,40})""", re.I)
_SIGNS = "‘’“”„–—…€£©®™°§·•«»¿¡½¼ºª²³±×\xa0"
# Letters that the languages of a code page use, in the order in which they are asked.
_ALPHABETS = (
    ("cp1252", frozenset("äöüÄÖÜßéèêëàâîïôùûçñóíáúÉÈÀÇÑåøæÅØÆãõìòœ" + _SIGNS)),
    ("cp1254", frozenset("çğıöşüÇĞİÖŞÜâîûÂÎÛ" + _SIGNS)),
    ("cp1250", frozenset("ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉĚÍŇŘŠŤÚŮÝŽőűŐŰöüÖÜăâîșţĂÂÎŞŢşäôľĺŕđĐß" + _SIGNS)),
    ("cp1257", frozenset("āčēģīķļņšūžĀČĒĢĪĶĻŅŠŪŽąęėįųĄĘĖĮŲõäöüÕÄÖÜ" + _SIGNS)),
)
# What is left to statistics: alphabets of one byte a letter that share nothing with Latin.
_STATISTICS = ["cp1251", "koi8_r", "cp866", "cp1253", "cp1255", "cp1256", "cp874", "mac_cyrillic"]
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]")
_SAMPLE = 64 * 1024


def looks_binary(data: bytes) -> bool:
    """True when these bytes are no text in any encoding that is tried here."""
    sample = data[:_SAMPLE]
    if not data or any(data.startswith(bom) for bom, _ in _BOMS) or _wide_without_bom(sample):
        return False
    if _ISO_2022_JP.search(sample):
        return 0 in sample
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
    if wide := _wide_without_bom(data[:_SAMPLE]):
        return wide
    declared = _DECLARED.search(data[:2048])
    if declared and (usable := _usable(declared.group(1).decode("ascii"), data)):
        return usable
    if _ISO_2022_JP.search(data) and (usable := _usable("iso2022_jp", data)):
        return usable
    if _usable("utf-8", data) or _nearly_utf8(data):
        return "utf-8"
    # A cut sample may end in the middle of a character, so the last bytes are not judged.
    sample = data if len(data) <= _SAMPLE else data[: data.rfind(b"\n", 0, _SAMPLE) + 1 or _SAMPLE]
    if guess := _latin(sample) or _east_asian(sample):
        return guess
    from charset_normalizer import from_bytes  # heavy tables: only for bytes that are nothing of the above

    best = from_bytes(sample, cp_isolation=_STATISTICS).best()
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


def _latin(sample: bytes) -> str | None:
    """The Latin code page under which these bytes hold the letters that its languages use.

    Statistics cannot tell them apart in a short text: "naïve" and "naďve" differ by the letters that people use, and
    that is what is asked here.
    """
    for encoding, alphabet in _ALPHABETS:
        try:
            text = sample.decode(encoding)
        except UnicodeDecodeError:
            continue
        letters = [character for character in text if character.isalpha() or not character.isascii()]
        accents = [character for character in letters if not character.isascii()]
        # Cyrillic or Greek read as a Latin code page is nearly all accents.
        if 0 < len(accents) < 0.5 * len(letters) and sum(c in alphabet for c in accents) >= 0.95 * len(accents):
            return encoding
    return None


def _east_asian(sample: bytes) -> str | None:
    """Japanese by its kana, Korean by its syllables, Chinese by the two bytes of its common characters.

    The encodings overlap: nearly all bytes of one decode in another, to characters that nobody writes.
    """
    for encoding in ("cp932", "euc_jp"):
        text = _foreign(sample, encoding)
        kana = sum("\u3040" <= c <= "\u30ff" for c in text)
        known = kana + sum(
            "\u4e00" <= c <= "\u9fff" or "\u3000" <= c <= "\u303f" or "\uff01" <= c <= "\uff5e" for c in text
        )
        if text and kana >= 0.15 * len(text) and known >= 0.95 * len(text):
            return encoding
    text = "".join(c for c in _foreign(sample, "cp949") if c.isalpha())
    if text and sum("\uac00" <= c <= "\ud7a3" for c in text) >= 0.9 * len(text):
        return "cp949"
    scores = []
    for encoding, level_one in (("gb18030", (0xB0, 0xD7)), ("big5", (0xA4, 0xC6))):
        text = "".join(c for c in _foreign(sample, encoding) if c.isalpha())
        han = [c.encode(encoding) for c in text if "\u4e00" <= c <= "\u9fff"]
        common = sum(
            level_one[0] <= pair[0] <= level_one[1] and (encoding == "big5" or pair[1] >= 0xA1) for pair in han
        )
        if text and len(han) >= 0.9 * len(text) and common >= 0.7 * len(han):
            scores.append((common / len(han), encoding))
    return max(scores)[1] if scores else None


def _foreign(sample: bytes, encoding: str) -> str:
    """The characters beyond ASCII; empty when the bytes are not in that encoding, or mean nothing in it."""
    try:
        text = "".join(character for character in sample.decode(encoding) if not character.isascii())
    except UnicodeDecodeError:
        return ""
    return "" if any("\ue000" <= character <= "\uf8ff" for character in text) else text


def _usable(encoding: str, data: bytes) -> str | None:
    try:
        data.decode(encoding)
    except (LookupError, UnicodeError, ValueError):
        return None
    return encoding


def _wide_without_bom(sample: bytes) -> str | None:
    """UTF-32 or UTF-16 without a mark. Its bytes hold control codes, which no other text does."""
    if len(sample) < 16 or not any(byte < 9 or 13 < byte < 27 for byte in sample):
        return None
    whole = sample[: len(sample) - len(sample) % 4]
    for encoding, high in (("utf-32-le", 3), ("utf-32-be", 0)):
        if not any(whole[high::4]) and _plausible(whole, encoding):
            return encoding
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) / 2
    if odd > 0.4 * half and even < 0.02 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.02 * half:
        return "utf-16-be"
    return next((encoding for encoding in ("utf-16-le", "utf-16-be") if _plausible(whole, encoding)), None)


def _plausible(sample: bytes, encoding: str) -> bool:
    """True when the bytes decode to letters of few alphabets, spaces and line ends, without control characters."""
    if encoding.startswith("utf-16") and len(sample) > 2:  # it may be cut within a pair of surrogates
        sample = sample[:-2]
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    if any(ord(c) < 9 or 13 < ord(c) < 32 for c in text) or not any(c.isspace() or c in "。、，" for c in text):
        return False
    letters = [c for c in text if c.isalpha()]
    blocks = Counter("han" if "\u3000" <= c <= "\ud7ff" else ord(c) >> 8 for c in letters)
    common = sum(count for _, count in blocks.most_common(3))
    return len(letters) >= 0.5 * len(text) and common >= 0.95 * len(letters)
