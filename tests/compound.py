"""Write small compound files (MS-CFB version 3), the container of .msg and of legacy office, for tests to feed parsers.

Streams of less than 4,096 bytes only; storages are dictionaries. Every entry hangs to the right of the one before it,
which readers follow as well as a balanced tree.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Union

Tree = Mapping[str, Union[bytes, "Tree"]]
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_SECTOR, _MINI = 512, 64


def compound_file(path: Path, tree: Tree) -> Path:
    """Write the tree as a compound file."""
    entries: list[bytearray] = [bytearray()]
    mini = bytearray()
    chains: list[int] = []  # the FAT of the small sectors

    def add(children: Tree) -> int:
        first = last = _FREE
        for name, content in children.items():
            number = len(entries)
            entries.append(bytearray())
            if isinstance(content, bytes):
                assert len(content) < 4096
                start = len(mini) // _MINI if content else _END
                sectors = -(-len(content) // _MINI)
                chains.extend([*range(start + 1, start + sectors), _END] if sectors else [])
                mini.extend(content.ljust(sectors * _MINI, b"\0"))
                entries[number] = _entry(name, kind=2, start=start, size=len(content))
            else:
                entries[number] = _entry(name, kind=1, child=add(content))
            if last == _FREE:
                first = number
            else:
                struct.pack_into("<I", entries[last], 72, number)
            last = number
        return first

    child = add(tree)
    entries[0] = _entry("Root Entry", kind=5, child=child, start=0, size=len(mini))
    while len(entries) % 4:
        entries.append(bytearray(128))
        struct.pack_into("<III", entries[-1], 68, _FREE, _FREE, _FREE)
    parts = [bytes(mini), struct.pack(f"<{len(chains)}I", *chains), b"".join(bytes(entry) for entry in entries)]
    fill = (b"\0", b"\xff", b"\0")
    padded = [part.ljust(-(-len(part) // _SECTOR) * _SECTOR, pad) for part, pad in zip(parts, fill, strict=True)]
    fat: list[int] = []
    starts = []
    for part in padded:
        starts.append(len(fat))
        fat += [*range(len(fat) + 1, len(fat) + len(part) // _SECTOR), _END]
    own = len(fat)
    assert own < 127, "one sector of FAT holds no more"
    fat.append(_FAT)
    fat += [_FREE] * (128 - len(fat))
    struct.pack_into("<I", entries[0], 116, starts[0])
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, starts[2], 0, 4096, starts[1], 1, _END, 0)
    header += struct.pack("<109I", own, *[_FREE] * 108)
    path.write_bytes(header + b"".join(padded) + struct.pack("<128I", *fat))
    return path


def _entry(name: str, *, kind: int, child: int = _FREE, start: int = 0, size: int = 0) -> bytearray:
    raw = (name + "\0").encode("utf-16-le")
    assert len(raw) <= 64
    head = raw.ljust(64, b"\0") + struct.pack("<HBBIII", len(raw), kind, 1, _FREE, _FREE, child)
    return bytearray(head + bytes(36) + struct.pack("<IQ", start, size))


def outlook_message(path: Path, *, subject: str, body: str, attachments: Mapping[str, bytes]) -> Path:
    """An Outlook message (MS-OXMSG) with a sender, a recipient and attachments by value."""

    def storage(head: bytes, texts: Mapping[int, str], *, data: bytes | None = None) -> dict[str, bytes | Tree]:
        """Properties: each text is an entry in the list of properties, and a stream."""
        raw = {number: value.encode("utf-16-le") for number, value in texts.items()}
        listed = [struct.pack("<HHIII", 0x1F, number, 6, len(value) + 2, 0) for number, value in raw.items()]
        streams = {f"__substg1.0_{number:04X}001F": value for number, value in raw.items()}
        if data is not None:
            listed.append(struct.pack("<HHIII", 0x0003, 0x3705, 6, 1, 0))  # attached by value
            listed.append(struct.pack("<HHIII", 0x0102, 0x3701, 6, len(data), 0))
            streams["__substg1.0_37010102"] = data
        return {"__properties_version1.0": head + b"".join(listed), **streams}

    top = bytes(8) + struct.pack("<IIII", 1, len(attachments), 1, len(attachments)) + bytes(8)
    texts = {0x001A: "IPM.Note", 0x0037: subject, 0x1000: body, 0x0C1A: "Ann", 0x0C1F: "ann@example.org"}
    tree = storage(top, {**texts, 0x5D01: "ann@example.org"})
    person = {0x3001: "Bob", 0x3003: "bob@example.org", 0x39FE: "bob@example.org"}
    tree["__recip_version1.0_#00000000"] = storage(bytes(8), person)
    for number, (name, data) in enumerate(attachments.items()):
        tree[f"__attach_version1.0_#{number:08X}"] = storage(bytes(8), {0x3707: name}, data=data)
    return compound_file(path, tree)


def locked_doc(path: Path) -> Path:
    """A Word 97 document whose header says that it is encrypted (RC4), by a key that no password gives."""
    base = struct.pack("<HHHHHHHI", 0xA5EC, 0xC1, 0, 0x409, 0, 0x0100 | 0x0200, 0xBF, 52)
    encryption = struct.pack("<HH", 1, 1) + bytes(range(48))
    return compound_file(path, {"WordDocument": base.ljust(1000, b"\0"), "1Table": encryption.ljust(1000, b"\0")})


def locked_xls(path: Path) -> Path:
    """An Excel 97 workbook whose first record after its beginning says how it is encrypted (RC4)."""
    begin = struct.pack("<HHHHHHII", 0x0809, 16, 0x0600, 0x0005, 0, 0x07CC, 0, 0)
    encryption = struct.pack("<HHHHH", 0x002F, 54, 1, 1, 1) + bytes(range(48))
    end = struct.pack("<HH", 0x000A, 0)
    return compound_file(path, {"Workbook": (begin + encryption + end).ljust(1000, b"\0")})
