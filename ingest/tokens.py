"""The embedder's tokenizer, from its `tokenizer.json`, for parser processes: no model, no weights, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from strongroom.errors import ModelError


class FileTokenizer:
    """A Tokenizer over a `tokenizer.json` file. Picklable: it carries the path and loads on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loaded: Any = None

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path, self._loaded = path, None

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character spans of the content tokens of `text`, in order."""
        return self._encode(text).offsets  # type: ignore[no-any-return]

    def count(self, text: str) -> int:
        """Number of content tokens in `text`."""
        return len(self._encode(text).ids)

    def _encode(self, text: str) -> Any:
        if self._loaded is None:
            from tokenizers import Tokenizer

            try:
                self._loaded = Tokenizer.from_file(str(self.path))
            except Exception as exc:  # the library raises bare Exception for a missing or malformed file
                raise ModelError(
                    f"the embedder's tokenizer cannot be loaded from {self.path}", hint="run: strongroom models pull"
                ) from exc
            # The file may ask for truncation or padding, which would hide tokens or invent some.
            self._loaded.no_truncation()
            self._loaded.no_padding()
        return self._loaded.encode(text, add_special_tokens=False)
