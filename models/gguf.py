"""Read the header of a GGUF file: enough to refuse a model before gigabytes are loaded. Standard library only.

Format: GGUF specification, version 2 and 3 (ggml project). The file is untrusted: every length is bounded by the
bytes that are there, and arrays (the vocabulary) are skipped, not kept.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from strongroom.errors import ModelError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_ENTRIES = 100_000
_MAX_KEPT = 4 << 20  # longest string that is kept; chat templates run to tens of kilobytes


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata without arrays."""

    values: dict[str, str | int | float | bool]

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", ""))

    @property
    def context_length(self) -> int:
        """Tokens the model was trained on, 0 when the file does not say."""
        value = self.values.get(f"{self.architecture}.context_length", 0)
        return value if isinstance(value, int) else 0

    @property
    def chat_template(self) -> str:
        """The model's own template, empty when it has none."""
        return str(self.values.get("tokenizer.chat_template", ""))

    def require_chat_template(self, name: str) -> None:
        """Raise `ModelError` when there is none: a guessed template makes a model answer in the wrong voice."""
        if not self.chat_template.strip():
            raise ModelError(
                f"{name} carries no chat template, so it is refused",
                hint="Use an instruction-tuned GGUF; base models and old conversions lack the template.",
            )


def read_header(path: Path) -> GgufHeader:
    """Parse the header. Raises `ModelError` when the file is not a whole GGUF header."""
    try:
        with path.open("rb") as handle:
            return _Reader(handle, path.stat().st_size).header()
    except (OSError, struct.error, ValueError, OverflowError) as exc:
        raise ModelError(f"{path.name} is not a usable GGUF file: {exc}", hint="Fetch the file again.") from exc


class _Reader:
    def __init__(self, handle: BinaryIO, size: int) -> None:
        self._handle, self._size = handle, size

    def header(self) -> GgufHeader:
        if self._handle.read(4) != b"GGUF":
            raise ValueError("the magic bytes are missing")
        version = self._number("I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not supported")
        self._number("Q")  # tensors
        entries = self._number("Q")
        if entries > _MAX_ENTRIES:
            raise ValueError(f"{entries} metadata entries")
        values: dict[str, str | int | float | bool] = {}
        for _ in range(entries):
            key = self._text()
            value = self._value(self._number("I"))
            if value is not None:
                values[key] = value
        return GgufHeader(values)

    def _value(self, kind: int) -> str | int | float | bool | None:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            self._skip_array()
            return None
        value: int | float | bool = self._unpack(self._scalar(kind))
        return value

    def _skip_array(self) -> None:
        kind, count = self._number("I"), self._number("Q")
        if kind == _STRING:
            for _ in range(self._bounded(count, 8)):
                self._skip(self._number("Q"))
        else:
            width = struct.calcsize("<" + self._scalar(kind))
            self._skip(self._bounded(count, width) * width)

    def _scalar(self, kind: int) -> str:
        code = _SCALARS.get(kind)
        if code is None:
            raise ValueError(f"value type {kind} is unknown")
        return code

    def _text(self) -> str:
        length = self._bounded(self._number("Q"), 1)
        if length > _MAX_KEPT:
            raise ValueError(f"a string of {length} bytes")
        return self._handle.read(length).decode("utf-8", errors="replace")

    def _skip(self, length: int) -> None:
        self._bounded(length, 1)
        self._handle.seek(length, 1)

    def _bounded(self, count: int, width: int) -> int:
        if count * width > self._size - self._handle.tell():
            raise ValueError("the file is cut short")
        return count

    def _number(self, code: str) -> int:
        return int(self._unpack(code))

    def _unpack(self, code: str) -> int | float | bool:
        width = struct.calcsize("<" + code)
        value: int | float | bool = struct.unpack("<" + code, self._handle.read(width))[0]
        return value
