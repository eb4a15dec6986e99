"""What every chat model must do, run on the fake and, where the default weights are installed, on llama.cpp."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import UsageError
from strongroom.ports import ChatModel, GenerationOptions
from strongroom.types import Message, Usage
from tests.fakes import FakeChatModel

PASSAGES = "The lease starts on 1 March. The rent is 4,200 EUR a month. Cats are forbidden."
PROMPT = [Message("system", f"Answer from these passages.\n{PASSAGES}"), Message("user", "How much is the rent?")]
SHORT = GenerationOptions(max_tokens=12)


def models_dir() -> Path:
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(os.environ.get("STRONGROOM_MODELS_DIR") or home / "strongroom" / "models")


@pytest.fixture(scope="module")
def llama() -> Iterator[ChatModel]:
    from models.defaults import DEFAULT_LLM, open_llm

    model = open_llm(models_dir(), DEFAULT_LLM, context_tokens=1024)
    yield model
    model.close()


@pytest.fixture(params=["fake", pytest.param("llama", marks=pytest.mark.models)])
def model(request: pytest.FixtureRequest) -> ChatModel:
    if request.param == "fake":
        return FakeChatModel(context_tokens=1024)
    found: ChatModel = request.getfixturevalue("llama")
    return found


class TestChatModelContract:
    def test_streams_text_and_reports_usage_once(self, model: ChatModel) -> None:
        usages: list[Usage] = []
        pieces = list(model.stream(PROMPT, SHORT, on_usage=usages.append))
        assert "".join(pieces).strip()
        assert all(pieces)
        assert len(usages) == 1
        assert usages[0].prompt_tokens == model.count_prompt(PROMPT)
        assert 0 < usages[0].completion_tokens <= 12

    def test_the_same_prompt_gives_the_same_text(self, model: ChatModel) -> None:
        assert "".join(model.stream(PROMPT, SHORT)) == "".join(model.stream(PROMPT, SHORT))

    def test_max_tokens_holds(self, model: ChatModel) -> None:
        usages: list[Usage] = []
        text = "".join(model.stream(PROMPT, GenerationOptions(max_tokens=2), on_usage=usages.append))
        assert usages[0].completion_tokens <= 2
        assert model.count_tokens(text) <= 3

    def test_counting(self, model: ChatModel) -> None:
        assert model.count_tokens("") == 0
        assert model.count_tokens("one two three") >= 3
        assert model.count_prompt(PROMPT) > model.count_tokens(PASSAGES)

    def test_a_prompt_that_does_not_fit_is_refused_at_once(self, model: ChatModel) -> None:
        long = [Message("user", "word " * (model.context_tokens + 10))]
        usages: list[Usage] = []
        with pytest.raises(UsageError, match=str(model.context_tokens)) as caught:
            model.stream(long, SHORT, on_usage=usages.append)
        assert str(model.count_prompt(long)) in str(caught.value)
        assert usages == []

    def test_closing_early_frees_the_context(self, model: ChatModel) -> None:
        usages: list[Usage] = []
        stream = model.stream(PROMPT, SHORT, on_usage=usages.append)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert len(usages) == 1
        assert "".join(model.stream(PROMPT, SHORT)).strip()

    def test_cancel_stops_at_the_next_token(self, model: ChatModel) -> None:
        cancel, usages = threading.Event(), list[Usage]()
        stream = model.stream(PROMPT, SHORT, cancel=cancel, on_usage=usages.append)
        next(stream)
        cancel.set()
        assert len(list(stream)) <= 1
        assert usages[0].completion_tokens <= 2

    def test_two_callers_take_turns(self, model: ChatModel) -> None:
        # GIVEN two generations asked for at the same time
        texts: dict[int, str] = {}
        gate = threading.Barrier(2)

        def ask(number: int) -> None:
            gate.wait(30)
            texts[number] = "".join(model.stream(PROMPT, SHORT))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        # THEN neither disturbed the other
        assert texts[0] == texts[1] == "".join(model.stream(PROMPT, SHORT))

    def test_a_stop_string_ends_the_text_before_it(self, model: ChatModel) -> None:
        whole = "".join(model.stream(PROMPT, SHORT))
        stop = whole.split()[1]
        assert "".join(model.stream(PROMPT, GenerationOptions(max_tokens=12, stop=(stop,)))) == whole.split(stop)[0]

    def test_quoting_gives_runs_of_the_allowed_texts(self, model: ChatModel) -> None:
        from models.verbatim import SEPARATOR

        text = "".join(model.stream(PROMPT, GenerationOptions(max_tokens=30, allowed=(PASSAGES,))))
        assert text.strip()
        assert all(run.strip() in PASSAGES for run in text.split(SEPARATOR))

    def test_a_schema_gives_json_of_that_schema(self, model: ChatModel) -> None:
        schema = {"type": "object", "properties": {"found": {"type": "boolean"}}, "required": ["found"]}
        text = "".join(model.stream(PROMPT, GenerationOptions(max_tokens=30, schema=schema)))
        assert set(json.loads(text)) == {"found"}
        assert isinstance(json.loads(text)["found"], bool)
