"""Language models in this process, by llama.cpp. The only module that imports `llama_cpp`; imported lazily.

What this adapter adds to the library: the model's own chat template or a refusal, documents that cannot smuggle control
tokens into the prompt, whole characters while streaming, cancellation while reading as well as while writing, and a
fair line before the one context. Every generation begins with an empty context, because the time that reading takes
would tell one person that another's prompt began alike; callers still put what is stable first, for models elsewhere.

The context is held from the first piece to the last: a consumer that stops early must close the iterator.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models.cpu import threads_or_default
from models.gguf import read_header
from models.streaming import FairLock, StopFilter, Utf8Stream
from models.verbatim import VerbatimConstraint, Vocabulary
from strongroom.errors import ModelError, UsageError
from strongroom.ports import GenerationOptions
from strongroom.types import Message, Usage

log = logging.getLogger(__name__)

READ_STEP = 256  # prompt tokens read between two looks at `cancel`
QUOTE_TOKENS = 96  # by which a quote may go over the limit to end with its sentence
_CACHE_TYPES = {"f16": None, "q8_0": 8}  # GGML type numbers for keys and values


class LlamaChatModel:
    """A GGUF file behind the `ChatModel` port."""

    def __init__(
        self, path: Path, *, name: str, context_tokens: int = 4096, threads: int = 0, cache_type: str = "f16"
    ) -> None:
        """Load the file. Raises `ModelError` when it has no chat template or cannot be loaded.

        The context is at most what the model was trained on. `cache_type` `q8_0` halves the memory of the context.
        """
        if cache_type not in _CACHE_TYPES:
            raise UsageError(f"unknown cache type {cache_type!r}", hint=f"Use one of {', '.join(_CACHE_TYPES)}.")
        header = read_header(path)
        header.require_chat_template(path.name)
        self._name = name
        self._context_tokens = min(context_tokens, header.context_length or context_tokens)
        self._lock = FairLock()
        self._closed = False
        self._vocabulary: Vocabulary | None = None
        self._vocabulary_lock = threading.Lock()
        self._library = _library()
        count = threads_or_default(threads)
        kind = _CACHE_TYPES[cache_type]
        # llama.cpp refuses a quantised value cache without flash attention, so the two go together.
        cache = {} if kind is None else {"type_k": kind, "type_v": kind, "flash_attn": True}
        with _native(name):
            self._llama: Any = self._library.Llama(
                model_path=str(path),
                n_ctx=self._context_tokens,
                n_threads=count,
                n_threads_batch=count,
                n_gpu_layers=0,
                verbose=False,
                **cache,
            )
            self._vocab = self._library.llama_model_get_vocab(self._llama.model)
            self._template = self._open_template(header.chat_template)

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    @property
    def waiting(self) -> int:
        """Callers that stand in line for the context."""
        return self._lock.waiting

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` by the model's own tokenizer, without special tokens."""
        return len(self._tokens(text))

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Tokens of the whole prompt after the model's own chat template."""
        return len(self._prompt(messages))

    def stream(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        *,
        cancel: threading.Event | None = None,
        on_usage: Callable[[Usage], None] | None = None,
    ) -> Iterator[str]:
        """Yield text pieces as they are decoded; see the port.

        Raises `UsageError` at once when the prompt does not fit, before any work. With `allowed`, pieces are cut from
        these texts and runs are joined by `verbatim.SEPARATOR`.
        """
        prompt = self._prompt(messages)
        if len(prompt) >= self._context_tokens:
            raise UsageError(
                f"the prompt has {len(prompt)} tokens, the context of {self._name} holds {self._context_tokens}",
                hint="Ask a shorter question, give fewer passages, or raise `context_tokens`.",
            )
        if options.schema is not None and options.allowed is not None:
            raise UsageError("an answer cannot be both JSON of a schema and a quote", hint="Give only one of them.")
        grammar = self._grammar(options.schema) if options.schema is not None else None
        quotes = VerbatimConstraint(options.allowed, self._words()) if options.allowed is not None else None
        return self._generate(prompt, options, grammar, quotes, cancel, on_usage)

    def close(self) -> None:
        """Free the model once the running generation has ended. Safe to call twice."""
        self._lock.acquire()
        try:
            if not self._closed:
                self._closed = True
                self._llama.close()
        finally:
            self._lock.release()

    # ------------------------------------------------------------------------------------------------ generation

    def _generate(
        self,
        prompt: list[int],
        options: GenerationOptions,
        grammar: Any,
        quotes: VerbatimConstraint | None,
        cancel: threading.Event | None,
        on_usage: Callable[[Usage], None] | None,
    ) -> Iterator[str]:
        made = 0
        if not self._lock.acquire(cancel):
            return
        try:
            if self._closed:
                raise ModelError(f"model {self._name} was closed", hint="Open it again.")
            most = self._context_tokens - len(prompt)
            # Nothing of one person's prompt stays for the next: how long reading takes would tell that it began alike.
            self._llama.reset()
            room = min(options.max_tokens, most)
            if room <= 0 or not self._read(prompt, cancel):
                return
            stops, characters = StopFilter(options.stop), Utf8Stream()
            for token in self._decode(prompt, options, grammar, quotes):
                if self._library.llama_vocab_is_eog(self._vocab, token):
                    break
                made += 1
                text = quotes.accept(token) if quotes is not None else characters.feed(self._piece(token))
                if piece := stops.feed(text):
                    yield piece
                # A quote is not cut off inside a sentence, unless it is a very long one.
                full = made >= room and (quotes is None or quotes.whole or made >= room + QUOTE_TOKENS)
                if stops.stopped or full or made >= most or _is_set(cancel):
                    break
            # In quoting mode nothing may be added that is not in a source, not even a replacement character.
            rest = stops.feed("" if quotes is not None else characters.finish()) + stops.finish()
            if rest:
                yield rest
        finally:
            self._lock.release()
            if on_usage is not None:
                on_usage(Usage(prompt_tokens=len(prompt), completion_tokens=made))

    def _read(self, prompt: list[int], cancel: threading.Event | None) -> bool:
        """Read all of the prompt but its last step, piece by piece; False when `cancel` was set meanwhile.

        Each step is a generation that is dropped after one token, so the library's own prefix matching does the
        book-keeping. The context is empty when this begins.
        """
        for end in range(READ_STEP, len(prompt), READ_STEP):
            if _is_set(cancel):
                return False
            steps = self._llama.generate(prompt[:end], temp=0.0)
            with _native(self._name):
                next(steps)
            steps.close()
        return not _is_set(cancel)

    def _decode(
        self, prompt: list[int], options: GenerationOptions, grammar: Any, quotes: VerbatimConstraint | None
    ) -> Iterator[int]:
        """Tokens, with the library's errors mapped."""
        processors = None
        if quotes is not None:
            processors = self._library.LogitsProcessorList([_mask(quotes)])
        self._llama.set_seed(options.seed)
        tokens = self._llama.generate(
            prompt, temp=max(0.0, options.temperature), grammar=grammar, logits_processor=processors
        )
        try:
            while True:
                with _native(self._name):
                    token = next(tokens, None)
                if token is None:
                    return
                yield int(token)
        finally:
            tokens.close()

    def _grammar(self, schema: Mapping[str, Any]) -> Any:
        try:
            return self._library.LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)
        except Exception as exc:
            raise UsageError(
                f"the JSON schema cannot be used: {exc}", hint="Use plain types, properties, required, items and enum."
            ) from exc

    # ------------------------------------------------------------------------------------------------ prompt

    def _open_template(self, template: str) -> Any:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        def text_of(token: int) -> str:
            return "" if token == -1 else str(self._library.llama_vocab_get_text(self._vocab, token).decode("utf-8"))

        return Jinja2ChatFormatter(
            template=template, eos_token=text_of(self._llama.token_eos()), bos_token=text_of(self._llama.token_bos())
        )

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of the rendered template; message texts can never become control tokens.

        Where a text holds the spelling of a control token (`<|im_end|>`), the template is rendered around place
        holders and the texts are tokenised apart, as plain text.
        """
        if all(self._tokens(m.content) == self._tokens(m.content, special=True) for m in messages):
            return self._tokens(self._render(messages), special=True)
        nonce = secrets.token_hex(8)
        marks = [Message(m.role, f"[[{nonce}-{i}]]") for i, m in enumerate(messages)]
        parts = re.split(rf"\[\[{nonce}-(\d+)\]\]", self._render(marks))
        tokens: list[int] = []
        for at, part in enumerate(parts):
            tokens += self._tokens(messages[int(part)].content) if at % 2 else self._tokens(part, special=True)
        return tokens

    def _render(self, messages: Sequence[Message]) -> str:
        try:
            return self._apply(messages)
        except Exception as exc:
            if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
                raise ModelError(
                    f"the chat template of {self._name} refuses this conversation: {exc}",
                    hint="Use another model, or roles that alternate between user and assistant.",
                ) from exc
        # Some templates know no system role: it then leads the first question.
        first = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
        with _native(self._name):
            return self._apply([first, *messages[2:]])

    def _apply(self, messages: Sequence[Message]) -> str:
        made = self._template(messages=[{"role": m.role, "content": m.content} for m in messages])
        return str(made.prompt)

    def _tokens(self, text: str, *, special: bool = False) -> list[int]:
        with _native(self._name):
            tokens: list[int] = self._llama.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=special)
        return tokens

    # ------------------------------------------------------------------------------------------------ vocabulary

    def _piece(self, token: int) -> bytes:
        """Bytes of one token. The bindings' own method loses tokens longer than 32 bytes (rulers, indents)."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._library.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def _words(self) -> Vocabulary:
        """The vocabulary as bytes, read once (it takes a moment for 150,000 tokens)."""
        with self._vocabulary_lock:
            if self._vocabulary is None:
                size = self._llama.n_vocab()
                ends = [t for t in range(size) if self._library.llama_vocab_is_eog(self._vocab, t)]
                self._vocabulary = Vocabulary([self._piece(token) for token in range(size)], ends)
            return self._vocabulary


def _mask(quotes: VerbatimConstraint) -> Callable[[Any, Any], Any]:
    """A logits processor that leaves only the allowed tokens."""

    def apply(_tokens: Any, scores: Any) -> Any:
        allowed = quotes.allowed()
        masked = np.full_like(scores, -np.inf)
        masked[allowed] = scores[allowed]
        return masked

    return apply


def _is_set(cancel: threading.Event | None) -> bool:
    return cancel is not None and cancel.is_set()


_keep_alive: list[Any] = []  # the callback must outlive the library


def _library() -> Any:
    """Import llama.cpp with its chatter sent to our log instead of standard error.

    Its threads meet at a barrier after every operation. By default they spin there, so when an ingest wants the same
    cores the one that computes is kept from running by the ones that wait: a token then took over 1 s instead of 60 ms.
    Sleeping at the barrier must be asked for before the OpenMP library is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as exc:
        raise ModelError(f"llama.cpp cannot be loaded: {exc}", hint="Run `make setup` again.") from exc
    if not _keep_alive:
        callback = llama_cpp.llama_log_callback(_to_log)
        _keep_alive.append(callback)
        llama_cpp.llama_log_set(callback, None)
    return llama_cpp


def _to_log(level: int, text: bytes, _data: Any) -> None:
    """Pass one message on. 3 is llama.cpp's number for an error."""
    message = text.decode("utf-8", "replace").rstrip()
    log.log(logging.WARNING if level == 3 else logging.DEBUG, "llama.cpp: %s", message)


@contextmanager
def _native(name: str) -> Iterator[None]:
    """Map what llama.cpp, its bindings and templates raise to `ModelError`."""
    try:
        yield
    except (ValueError, RuntimeError, OSError, AssertionError, MemoryError) as exc:
        raise ModelError(
            f"model {name} failed: {type(exc).__name__}: {exc}",
            hint="Run `strongroom models verify`; a smaller `context_tokens` needs less memory.",
        ) from exc
