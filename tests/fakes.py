"""Deterministic stand-ins for the model ports; what they return depends on what they are given.

No weights, no network, standard library and numpy only. Similar texts get similar vectors because a vector is a
hashed bag of words; the fake chat model answers with the sentence of its prompt that shares most words with the
question, so an answer changes when the retrieved passages or the question change.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from strongroom.errors import ModelError, UsageError
from strongroom.ports import GenerationOptions, Vector, Vectors
from strongroom.types import Message, Reading, ReadSpan, Usage

_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_STOP_WORDS = "a an and are at be by do does for from how in is it of on or the this to was what when which who"
_STOP = frozenset(_STOP_WORDS.split())


class FakeTokenizer:
    """One token for each word and each punctuation mark. Picklable."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character spans of the tokens of `text`, in order."""
        return [m.span() for m in _TOKEN.finditer(text)]

    def count(self, text: str) -> int:
        """Number of tokens in `text`."""
        return sum(1 for _ in _TOKEN.finditer(text))


class FakeEmbedder:
    """Hashed bag of words: cosine grows with the share of (case-folded) words in common.

    `calls` holds the texts of every `embed_documents` call, so that a test can prove that nothing was embedded twice.
    """

    def __init__(self, dimension: int = 64, *, max_tokens: int = 256, name: str = "fake-embedder") -> None:
        self._dimension = dimension
        self._max_tokens = max_tokens
        self._name = name
        self._tokenizer = FakeTokenizer()
        self.calls: list[tuple[str, ...]] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    @property
    def fingerprint(self) -> str:
        return f"fake-{self._name}-{self._dimension}-{self._max_tokens}"

    @property
    def tokenizer(self) -> FakeTokenizer:
        return self._tokenizer

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape `(len(texts), dimension)`."""
        self.calls.append(tuple(texts))
        out = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = self._vector(text)
        return out

    def embed_query(self, text: str) -> Vector:
        """One unit vector, the same as `embed_documents([text])[0]`."""
        return self._vector(text)

    def _vector(self, text: str) -> Vector:
        spans = self._tokenizer.offsets(text)[: self._max_tokens - 2]
        words = [w for w in (text[a:b].lower() for a, b in spans) if _WORD.match(w)]
        vector = np.zeros(self._dimension, dtype=np.float64)
        for word in words:
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            value = int.from_bytes(digest, "big")
            vector[value % self._dimension] += (1.0 if value >> 63 else -1.0) * (0.2 if word in _STOP else 1.0)
        norm = float(np.linalg.norm(vector))
        if norm < 1e-9:
            vector[0], norm = 1.0, 1.0
        return (vector / norm).astype(np.float32)


class FakeChatModel:
    """Answers with the sentence of the prompt that shares most words with the last line of the last user message.

    `reply(messages, options)` overrides the text; `schema` gives minimal JSON of that schema; `allowed` picks the best
    sentence of the allowed texts. Streams word by word, honours `max_tokens`, `stop`, `cancel`, and the context length.
    `prompts` holds the messages of every call.
    """

    def __init__(
        self,
        *,
        name: str = "fake-llm",
        context_tokens: int = 4096,
        reply: Callable[[Sequence[Message], GenerationOptions], str] | None = None,
    ) -> None:
        self._name = name
        self._context_tokens = context_tokens
        self._reply = reply
        self._lock = threading.Lock()
        self.prompts: list[tuple[Message, ...]] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    def count_tokens(self, text: str) -> int:
        """Words and punctuation marks."""
        return sum(1 for _ in _TOKEN.finditer(text))

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Content tokens plus three for each message, as a chat template would add."""
        return sum(self.count_tokens(m.content) + 3 for m in messages)

    def stream(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        *,
        cancel: threading.Event | None = None,
        on_usage: Callable[[Usage], None] | None = None,
    ) -> Iterator[str]:
        """Yield the reply in pieces of one word with the white space after it."""
        prompt_tokens = self.count_prompt(messages)
        if prompt_tokens >= self._context_tokens:
            raise UsageError(
                f"the prompt has {prompt_tokens} tokens, {self._name} holds {self._context_tokens}",
                hint="Ask a shorter question.",
            )
        return self._generate(tuple(messages), options, prompt_tokens, cancel, on_usage)

    def close(self) -> None:
        """Nothing to free."""

    def _generate(
        self,
        messages: tuple[Message, ...],
        options: GenerationOptions,
        prompt_tokens: int,
        cancel: threading.Event | None,
        on_usage: Callable[[Usage], None] | None,
    ) -> Iterator[str]:
        made = 0
        with self._lock:
            self.prompts.append(messages)
            text = self._text(messages, options)
            for stop in options.stop:
                text = text.split(stop, 1)[0]
            try:
                for piece in re.findall(r"\s*\S+\s*", text):
                    if made >= options.max_tokens or (cancel is not None and cancel.is_set()):
                        break
                    made += 1
                    yield piece
            finally:
                if on_usage is not None:
                    on_usage(Usage(prompt_tokens=prompt_tokens, completion_tokens=made))

    def _text(self, messages: Sequence[Message], options: GenerationOptions) -> str:
        if self._reply is not None:
            return self._reply(messages, options)
        if options.schema is not None:
            return json.dumps(_minimal(options.schema))
        last = next((m.content for m in reversed(messages) if m.role == "user"), "")
        lines = [line for line in last.splitlines() if line.strip()]
        question = lines[-1] if lines else ""
        sources = list(options.allowed) if options.allowed is not None else [m.content for m in messages]
        wanted = _words(question)
        sentences = [s.strip() for source in sources for s in _SENTENCE.findall(source) if s.strip()]
        candidates = [s for s in sentences if options.allowed is not None or s not in question]
        if not candidates:
            return "" if options.allowed is not None else f"I have no text about {question}".strip()
        return max(candidates, key=lambda s: (len(wanted & _words(s)), -len(s), s))


def _words(text: str) -> set[str]:
    return {w.lower() for w in _WORD.findall(text)} - _STOP


def _minimal(schema: Mapping[str, Any]) -> Any:
    """The smallest value that a JSON schema of plain types accepts."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type", "object"):
        case "string":
            return ""
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "array":
            return [_minimal(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
        case "null":
            return None
        case _:
            properties = schema.get("properties", {})
            return {key: _minimal(properties[key]) for key in schema.get("required", properties) if key in properties}


class FakeReader:
    """Spans are whole sentences, ranked by the share of the question's words in them; so are the probabilities.

    `calls` holds the question and the passages of every `read`.
    """

    def __init__(self, name: str = "fake-reader") -> None:
        self._name = name
        self.calls: list[tuple[str, tuple[str, ...]]] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return f"fake-{self._name}"

    def read(self, question: str, passages: Sequence[str], *, spans: int = 3) -> list[Reading]:
        """Sentences with a word of the question, best first."""
        self.calls.append((question, tuple(passages)))
        wanted = _words(question)
        out = []
        for passage in passages:
            found = []
            for match in _SENTENCE.finditer(passage):
                text = match.group().strip()
                start = match.start() + match.group().find(text)
                score = len(wanted & _words(text)) / max(1, len(wanted))
                if text and score > 0:
                    found.append(ReadSpan(start, start + len(text), score))
            found.sort(key=lambda span: (-span.score, span.start))
            best = found[0].score if found else 0.0
            out.append(Reading(tuple(found[:spans]), answerable=best, relevant=best))
        return out

    def support(self, claim: str, evidence: Sequence[str]) -> list[float]:
        """The share of the claim's words in each piece of evidence; 0 when a number of the claim is missing."""
        wanted = _words(claim)
        numbers = {word for word in wanted if word[0].isdigit()}
        return [
            0.0 if not wanted or numbers - _words(text) else len(wanted & _words(text)) / len(wanted)
            for text in evidence
        ]


class FakeSpeech:
    """A speech model that says how loud it was."""

    name = "fake-speech"
    sample_rate = 16_000

    def __init__(self, *, installed: bool = True) -> None:
        self.installed = installed

    def transcribe(self, samples: np.ndarray) -> list[str]:
        return [f"{len(samples) / self.sample_rate:.0f} seconds, peak {float(np.abs(samples).max()):.1f}."]


class FakeModels:
    """`strongroom.app.models.Models` without weights."""

    def embedder(self) -> FakeEmbedder:
        return FakeEmbedder()

    def tokenizer(self) -> FakeTokenizer:
        return FakeTokenizer()

    def llm(self, model_id: str) -> FakeChatModel:
        if model_id.startswith("missing"):
            raise ModelError(f"{model_id} is not installed", hint="strongroom models pull")
        return FakeChatModel()

    def writes_well(self, model_id: str) -> bool:
        return model_id.startswith("capable")

    def reader(self, artefact: bytes | None = None) -> FakeReader:
        return FakeReader("fake-reader" if artefact is None else f"trained: {artefact.decode()}")

    def reader_artefact(self) -> bytes:
        return b"own"

    def reader_base(self) -> Path:
        return Path("base")

    def reranker(self) -> None:
        return None

    def nli(self) -> None:
        return None

    def speech(self) -> FakeSpeech:
        return FakeSpeech()

    def on_workers(self) -> Any:
        raise NotImplementedError("tests of the cluster bring their own")
