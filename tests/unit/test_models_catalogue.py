"""The shipped catalogue is well formed, and a mistake in a catalogue is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.catalogue import load_catalogue
from models.defaults import DEFAULT_MODELS
from strongroom.errors import ConfigError, ModelError

ENTRY = """
[[model]]
id = "m"
name = "M"
kind = "llm"
family = "F"
licence = "MIT"
permits = "osi"
context_tokens = 10
memory_gb = 1
verified = false
source = { kind = "import", origin = "someone/m" }
"""


def _write(path: Path, text: str) -> Path:
    (path / "catalogue.toml").write_text(text)
    return path / "catalogue.toml"


def test_the_shipped_catalogue_names_what_organisations_ask_for() -> None:
    catalogue = load_catalogue()
    families = {model.family for model in catalogue.models.values() if model.kind == "llm"}
    wanted = {"Llama", "Mistral", "Mixtral", "Qwen 2.5", "Qwen 3", "DeepSeek", "Gemma", "Phi", "SmolLM"}
    assert wanted <= families
    assert {model.kind for model in catalogue.models.values()} == {"embedder", "llm", "reranker", "nli", "speech"}


def test_every_limited_licence_says_its_limits() -> None:
    silent = [m.id for m in load_catalogue().models.values() if m.permits != "osi" and not m.terms]
    assert silent == []


def test_the_defaults_are_verified_and_open() -> None:
    for model_id in DEFAULT_MODELS:
        model = load_catalogue().require(model_id)
        assert (model.verified, model.permits, model.source.kind) == (True, "osi", "wheel")


def test_unverified_models_carry_no_hash() -> None:
    assert [m.id for m in load_catalogue().models.values() if m.files and not m.verified] == []


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('licence = "MIT"', 'licence = "MIT"\nlicense = "MIT"', "license"),
        ('licence = "MIT"\n', "", "licence"),
        ('kind = "llm"', 'kind = "oracle"', "kind"),
        ('permits = "osi"', 'permits = "free"', "permits"),
        ("verified = false", "verified = true", "hashed files"),
        ("context_tokens = 10", "context_tokens = -1", "context_tokens"),
        ('id = "m"', 'id = "../m"', "id"),
        ('origin = "someone/m"', 'origin = "someone/m", url = "x"', "url"),
        ('kind = "import"', 'kind = "wheel", package = "a; rm", version = "1"', "package"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in ENTRY
    with pytest.raises(ConfigError, match=named):
        load_catalogue(_write(tmp_path, ENTRY.replace(old, new)))


def test_a_file_may_not_leave_its_folder(tmp_path: Path) -> None:
    file = f'\n[[model.files]]\npath = "../x"\nmember = "x"\nsize = 1\nsha256 = "{"0" * 64}"\n'
    with pytest.raises(ConfigError, match=r"files\.path"):
        load_catalogue(_write(tmp_path, ENTRY.replace("verified = false", "verified = true") + file))


def test_listing_a_model_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="twice"):
        load_catalogue(_write(tmp_path, ENTRY + ENTRY))


def test_an_unknown_id_has_a_hint() -> None:
    with pytest.raises(ModelError) as caught:
        load_catalogue().require("gpt-17")
    assert (caught.value.exit_code, bool(caught.value.hint)) == (12, True)
