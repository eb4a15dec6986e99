"""The embedder's tokenizer on its own, light enough for every parser process. Imports `tokenizers` and nothing else.

Pickles by path, so that a child process loads the file itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tokenizers


class FileTokenizer:
    """A `tokenizer.json` behind the `Tokenizer` port. Threads may share one instance."""

    def __init__(self, path: Path) -> None:
        """Load the file at `path`. Raises `ModelError` when it is missing or malformed."""
        from tokenizers import Tokenizer

        self.path = Path(path)
        try:
            self._tokenizer: tokenizers.Tokenizer = Tokenizer.from_file(str(self.path))
        except Exception as exc:
            raise ModelError(
                f"the tokenizer {self.path} cannot be read: {exc}",
                hint="Install the model again: `strongroom models pull`.",
            ) from exc
        # The file may carry the cut and the padding of its training set-up; callers must see the whole text.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character spans of the content tokens of `text` (no special tokens), in order."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return spans

    def count(self, text: str) -> int:
        """Number of content tokens in `text`."""
        return len(self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0])

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return self._tokenizer.get_vocab_size()

    def __reduce__(self) -> tuple[type[FileTokenizer], tuple[Path]]:
        return FileTokenizer, (self.path,)


class BatchTokenizer:
    """Token ids with special tokens, cut at a maximum: what the embedder feeds its network."""

    def __init__(self, path: Path, *, max_tokens: int) -> None:
        self._inner = FileTokenizer(path)
        self._tokenizer = self._inner._tokenizer
        self._tokenizer.enable_truncation(max_tokens)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, special tokens included, at most `max_tokens` long."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
