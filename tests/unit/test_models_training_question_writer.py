"""Questions that a language model writes: what is kept of them, and that a small model learns both directions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.training.data import texts
from models.training.examples import Example
from models.training.question_writer import NONE, Asked, QuestionWriter, _read, written
from models.training.synthetic import as_typed

PASSAGES = [
    ("Cranes", "The crane was built in 1904 by Alder and Sons. It lifts 40 tonnes."),
    ("Cranes", "The second crane stands on the east quay. It was sold in 1931."),
    ("Locks", "The lock of Birch is 12 metres wide. Nobody has opened it since 1980."),
]


class Scripted:
    """Writes one fixed question for each wish, and agrees with those that it is told to."""

    def __init__(self, *, disagrees: str = "") -> None:
        self.disagrees = disagrees
        self.wanted: list[tuple[str, str | None]] = []

    def write(self, wanted: Sequence[tuple[str, str | None]], *, tell: object = None) -> list[Asked]:
        self.wanted = list(wanted)
        return [
            (passage, f"What about this {number}?", answer or passage.split()[1])
            for number, (passage, answer) in enumerate(wanted)
        ]

    def agrees(self, asked: Sequence[Asked]) -> list[bool]:
        return [answer != self.disagrees for _, _, answer in asked]


def _written(writer: Scripted, each: int = 30) -> list[Example]:
    return written(PASSAGES, each, writer, random.Random(1), tell=lambda _: None)


def test_written_questions_have_their_answers_where_they_stand() -> None:
    found = _written(Scripted())
    answered = [e for e in found if e.answerable == 1]
    assert len(answered) > 50
    for example in answered:
        assert example.spans
        assert all(example.passage[a:b] == example.answers[0] for a, b in example.spans)
        assert (example.group, example.passage) in PASSAGES
    assert {"1904", "1931"} <= {e.answers[0] for e in answered}  # pieces that rules found


def test_answers_that_the_model_does_not_give_back_are_left_out() -> None:
    assert any(e.answers == ("crane",) for e in _written(Scripted()))
    assert not any(e.answers == ("crane",) for e in _written(Scripted(disagrees="crane")))


def test_unanswerable_questions_are_few_and_say_so() -> None:
    found = _written(Scripted())
    answered = sum(e.answerable == 1 for e in found)
    none = [e for e in found if e.source == "written-none"]
    assert 0 < len(none) <= answered // 4
    assert all((e.spans, e.answerable, e.answers) == ((), 0, ()) for e in none)


def test_a_question_asked_of_another_passage_of_its_group_is_not_answered_there() -> None:
    elsewhere = [e for e in _written(Scripted()) if e.source == "written-no"]
    assert elsewhere
    assert all((e.spans, e.answerable, e.relevant) == ((), 0, 0) for e in elsewhere)
    assert {e.group for e in elsewhere} == {"Cranes"}  # the other group has one passage only


@pytest.mark.parametrize(
    ("answer", "text", "read"),
    [
        ("1904", " When was it built?", ("When was it built?", "1904")),
        (None, " 1904\nQuestion: When was it built?", ("When was it built?", "1904")),
        (None, f" {NONE}\nQuestion: Who painted the crane?", ("Who painted the crane?", NONE)),
        (None, " 1904", None),  # no question
        (None, " 1905\nQuestion: When was it built?", None),  # not in the passage
        ("1904", " What was built in 1904?", None),  # says its answer
        ("1904", " When was it built", None),
        ("1904", " When?", None),
        ("1904", " When was it built?\nAnd then?", None),
        (None, "\nQuestion: When was it built?", None),
    ],
)
def test_only_questions_with_an_answer_in_the_passage_are_read(
    answer: str | None, text: str, read: tuple[str, str] | None
) -> None:
    passage = PASSAGES[0][1]
    assert _read(passage, answer, text) == (None if read is None else (passage, *read))


class Words:
    """A tokenizer of whole words with the little of transformers' interface that the writer uses."""

    eos_token_id = 0

    def __init__(self) -> None:
        self.words = ["<end>"]

    def __call__(self, text: str, add_special_tokens: bool) -> Any:
        found = text.replace("\n", " \n ").replace(":", " : ").replace("?", " ?").split(" ")
        for word in (words := [w for w in found if w]):
            if word not in self.words:
                self.words.append(word)
        return type("Encoded", (), {"input_ids": [self.words.index(w) for w in words]})

    def batch_decode(self, ids: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        lines = [" ".join(self.words[n] for n in row if 0 < n < len(self.words)) for row in ids.tolist()]
        return [line.replace(" ?", "?").replace(" : ", ": ").replace(" \n ", "\n") for line in lines]


def test_a_small_model_learns_to_write_and_to_answer() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    people = [
        Example(question, passage, (), 1, 1, None, "g", "squad", answers=(answer,))
        for passage, question, answer in (
            ("Alder was built in 1904", "When was Alder built?", "1904"),
            ("Birch was sold in 1931", "When was Birch sold?", "1931"),
        )
    ]
    shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, eos_token_id=0, **shape))
    writer = QuestionWriter(Words(), model)
    asked = [(e.passage, e.question, e.answers[0]) for e in people]
    wrong = [(passage, question, "Alder") for passage, question, _ in asked]
    assert writer.agrees(asked) == [False, False]
    writer.teach(people * 4, random.Random(0), epochs=40, rate=5e-3, tell=lambda _: None)
    assert writer.agrees([*asked, *wrong]) == [True, True, False, False]
    wanted = [(e.passage, None) for e in people]
    assert set(writer.write(wanted * 4, tell=lambda _: None)) & set(asked)


@given(st.text(min_size=1, max_size=80), st.integers(0, 50))
def test_any_question_can_be_typed(question: str, seed: int) -> None:
    assert isinstance(as_typed(question, random.Random(seed)), str)


def test_a_typed_question_keeps_its_telling_words() -> None:
    typed = {as_typed("When was the crane of Alder built?", random.Random(n)) for n in range(60)}
    assert {"crane Alder built", "When was the crane of Alder built"} <= typed
    assert len(typed) > 8
    assert all(len(t.split()) >= 3 for t in typed)


def test_text_files_become_passages(tmp_path: Path) -> None:
    (tmp_path / "speech.txt").write_text("The port was dredged to twelve metres in 1931. " * 60, encoding="utf-8")
    (tmp_path / "short.txt").write_text("Too short.", encoding="utf-8")
    found = texts(tmp_path)
    assert {group for group, _ in found} == {"speech"}
    assert len(found) == 3
    assert all(300 < len(text) <= 950 for _, text in found)
