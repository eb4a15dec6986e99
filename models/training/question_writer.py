"""Questions that a small language model writes, kept where it gives the very answer back when it is asked.

Method: question generation with roundtrip consistency (Alberti et al. 2019, arXiv:1906.05416), by one causal language
model that is first taught both directions on people's questions: from a passage to an answer and a question for it, and
from passage and question to the answer. "none" is an answer too, so that it also writes questions that a passage nearly
answers (after Rajpurkar et al. 2018, arXiv:1806.03822). In practice this wants a GPU.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from models.training.examples import Example
from models.training.text import pieces, sentences

NONE = "none"
MOST_PASSAGE = 320  # tokens of a passage
MOST_WRITTEN = 56  # tokens of answer and question
BATCH_TOKENS = 16_384  # padded, learnt from at once on a GPU; a sixteenth on a CPU
RATE = 3e-4
ANSWER, QUESTION = "\nAnswer:", "\nQuestion:"

Tell = Callable[[str], None]
Asked = tuple[str, str, str]  # passage, question, answer


class Writer(Protocol):
    """What `written` asks of a language model."""

    def write(self, wanted: Sequence[tuple[str, str | None]], *, tell: Tell = print) -> list[Asked]:
        """For each (passage, answer or `None`) at most one question with its answer."""

    def agrees(self, asked: Sequence[Asked]) -> list[bool]:
        """Whether it gives each answer back when it is asked."""


class QuestionWriter:
    """A causal language model that writes questions about passages and answers them."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        """A tokenizer and a causal language model of transformers, which works where it lies."""
        self._tokenizer, self._model = tokenizer, model
        self._device = next(model.parameters()).device
        self._end = int(tokenizer.eos_token_id)
        self._most = BATCH_TOKENS // (16 if self._device.type == "cpu" else 1)

    @classmethod
    def opened(cls, model: Path, device: torch.device) -> QuestionWriter:
        """Open a GGUF file whose architecture transformers can take apart (needs `gguf` and `accelerate`)."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where = {"pretrained_model_name_or_path": model.parent, "gguf_file": model.name}
        network = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        return cls(AutoTokenizer.from_pretrained(**where), network.to(device))

    def teach(
        self,
        people: Sequence[Example],
        rng: random.Random,
        *,
        epochs: int = 4,
        rate: float = RATE,
        tell: Tell = print,
    ) -> None:
        """Fine-tune on people's questions, both directions; `rate` is the learning rate at the top."""
        rows = []
        for example in people:
            answer = example.answers[0] if example.answers else NONE
            rows.append(self._writing(example.passage, answer, example.question, given=rng.random() < 0.5))
            rows.append(self._answering(example.passage, example.question, answer))
        plan = [batch for _ in range(epochs) for batch in _batches(rows, self._most, rng)]
        optimiser = torch.optim.AdamW(self._model.parameters(), rate, betas=(0.9, 0.98), fused=True)
        warm = max(1, len(plan) // 12)
        lasting: list[float] = []
        self._model.train()
        for step, batch in enumerate(plan):
            for group in optimiser.param_groups:
                group["lr"] = rate * min((step + 1) / warm, (len(plan) - step) / max(1, len(plan) - warm))
            logits, labels = self._labelled([rows[n] for n in batch])
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            lasting.append(float(loss.detach()))
            if step % 25 == 24 or step + 1 == len(plan):
                tell(f"teaching {step + 1} of {len(plan)}: loss {sum(lasting) / len(lasting):.3f}")
                lasting = []
        self._model.eval()
        self._model.to(torch.bfloat16 if self._device.type != "cpu" else torch.float32)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def write(self, wanted: Sequence[tuple[str, str | None]], *, tell: Tell = print) -> list[Asked]:
        """For each (passage, answer or `None` where the model may choose one) at most one question with its answer."""
        batch = self._most // 8
        order = sorted(range(len(wanted)), key=lambda n: len(wanted[n][0]))
        out: list[Asked] = []
        for at in range(0, len(order), batch):
            part = [wanted[n] for n in order[at : at + batch]]
            heads = [self._asking(passage, answer) for passage, answer in part]
            width = max(map(len, heads))
            ids = torch.tensor([[self._end] * (width - len(head)) + head for head in heads], device=self._device)
            mask = torch.tensor([[0] * (width - len(head)) + [1] * len(head) for head in heads], device=self._device)
            given = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                top_k=40,
                temperature=0.9,
                max_new_tokens=MOST_WRITTEN,
                eos_token_id=self._end,
                pad_token_id=self._end,
            )[:, width:]
            texts = self._tokenizer.batch_decode(given, skip_special_tokens=True)
            out += [
                asked
                for (passage, answer), text in zip(part, texts, strict=True)
                if (asked := _read(passage, answer, text))
            ]
            tell(f"written {len(out)} of {min(at + batch, len(order))}")
        return out

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def agrees(self, asked: Sequence[Asked]) -> list[bool]:
        """Whether greedy decoding, asked the question about the passage, would give exactly the answer."""
        rows = [self._answering(*one) for one in asked]
        found = [False] * len(rows)
        for batch in _batches(rows, 4 * self._most):
            logits, labels = self._labelled([rows[n] for n in batch])
            right = (logits.argmax(-1) == labels).tolist()
            at = 0
            for n in batch:
                size = sum(label >= 0 for label in rows[n][1])
                found[n] = all(right[at : at + size])
                at += size
        return found

    def _labelled(self, rows: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor]:
        """Logits `[labelled tokens, vocabulary]` and what should stand there, in the order of the rows."""
        width = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([one + [self._end] * (width - len(one)) for one, _ in rows], device=self._device)
        mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one, _ in rows], device=self._device)
        labels = torch.tensor([one + [-1] * (width - len(one)) for _, one in rows], device=self._device)[:, 1:]
        with torch.autocast(self._device.type, torch.bfloat16):
            hidden = self._model.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
            keep = labels >= 0
            return self._model.lm_head(hidden[keep]), labels[keep]

    def _writing(self, passage: str, answer: str, question: str, *, given: bool) -> tuple[list[int], list[int]]:
        head = self._asking(passage, answer if given else None)
        tail = [] if given else self._ids(f" {answer}{QUESTION}")
        tail = [*tail, *self._ids(f" {question}"), self._end]
        return [*head, *tail], [-1] * len(head) + tail

    def _answering(self, passage: str, question: str, answer: str) -> tuple[list[int], list[int]]:
        head = [*self._passage(passage), *self._ids(f"{QUESTION} {question}{ANSWER}")]
        tail = [*self._ids(f" {answer}"), self._end]
        return [*head, *tail], [-1] * len(head) + tail

    def _asking(self, passage: str, answer: str | None) -> list[int]:
        return [*self._passage(passage), *self._ids(ANSWER if answer is None else f"{ANSWER} {answer}{QUESTION}")]

    def _passage(self, text: str) -> list[int]:
        return self._ids(text)[:MOST_PASSAGE]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids


def written(
    passages: Sequence[tuple[str, str]],
    each: int,
    writer: Writer,
    rng: random.Random,
    *,
    tell: Tell = print,
) -> list[Example]:
    """Examples about `passages` (group, text): `each` questions a passage are tried, those that agree are kept.

    A third asks for a piece that rules found, a half for what the model chooses, the rest for nothing that is there; of
    these no more are kept than a quarter of the others. One question in eight is asked of another passage as well.
    """
    groups = {text: group for group, text in passages}
    wanted: list[tuple[str, str | None]] = []
    for _, text in passages:
        found = [text[a + p.start : a + p.end] for a, b in sentences(text) for p in pieces(text[a:b])]
        for _ in range(each):
            draw = rng.random()
            wanted.append((text, NONE if draw < 0.17 else rng.choice(found) if found and draw < 0.5 else None))
    asked = list(dict.fromkeys(writer.write(wanted, tell=tell)))
    kept = [one for one, agrees in zip(asked, writer.agrees(asked), strict=True) if agrees]
    tell(f"{len(wanted)} tried, {len(asked)} readable, {len(kept)} agree")
    examples = [_example(one, groups[one[0]], n) for n, one in enumerate(kept)]
    answered, none = ([e for e in examples if e.answerable == known] for known in (1, 0))
    return answered + rng.sample(none, min(len(none), len(answered) // 4)) + _elsewhere(answered, rng)


def _elsewhere(answered: Sequence[Example], rng: random.Random) -> list[Example]:
    """Every eighth question with another passage of its group that does not hold the answer."""
    texts: dict[str, list[str]] = {}
    for example in answered:
        texts.setdefault(example.group, []).append(example.passage)
    out = []
    for example in rng.sample(answered, len(answered) // 8):
        fit = [t for t in texts[example.group] if t != example.passage and example.answers[0].lower() not in t.lower()]
        if fit:
            wrong = {"passage": rng.choice(fit), "spans": (), "answers": (), "answerable": 0, "relevant": 0}
            out.append(replace(example, source="written-no", **wrong))  # type: ignore[arg-type]
    return out


def _example(asked: Asked, group: str, number: int) -> Example:
    passage, question, answer = asked
    if answer == NONE:
        return Example(question, passage, (), 0, None, None, group, "written-none", f"written-{number}")
    spans = tuple(_places(passage, answer))
    return Example(question, passage, spans, 1, 1, None, group, "written", f"written-{number}", (answer,))


def _places(passage: str, answer: str, most: int = 3) -> Iterable[tuple[int, int]]:
    at = -1
    for _ in range(most):
        at = passage.find(answer, at + 1)
        if at < 0:
            return
        yield at, at + len(answer)


def _read(passage: str, answer: str | None, text: str) -> Asked | None:
    """What the model wrote, where it is a question with an answer that stands in the passage."""
    if answer is None:
        answer, mark, text = text.partition(QUESTION)
        answer = answer.strip()
        if not mark:
            return None
    question = text.strip()
    words = question.split()
    if not question.endswith("?") or not 3 <= len(words) <= 40 or "\n" in question or not answer:
        return None
    if answer != NONE and (answer not in passage or answer.lower() in question.lower()):
        return None
    return passage, question, answer


def _batches(
    rows: Sequence[tuple[list[int], list[int]]], most: int, rng: random.Random | None = None
) -> list[list[int]]:
    """Numbers of rows of similar length under a budget of padded tokens; shuffled with `rng`."""
    order = sorted(range(len(rows)), key=lambda n: -len(rows[n][0]) + (rng.random() * 16 if rng else 0))
    out: list[list[int]] = []
    while order:
        take = max(1, most // len(rows[order[0]][0]))
        out.append(order[:take])
        order = order[take:]
    if rng is not None:
        rng.shuffle(out)
    return out
