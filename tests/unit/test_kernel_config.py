"""Settings: precedence, origins, and errors that name key and value."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.config import load
from strongroom.errors import ConfigError


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_option_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN the same keys in several places
    file = write(tmp_path / "s.toml", "port = 1001\nui_port = 1002\nsearch_k = 3\n")
    monkeypatch.setenv("STRONGROOM_PORT", "2001")
    monkeypatch.setenv("STRONGROOM_UI_PORT", "2002")
    # WHEN
    loaded = load({"port": 3001, "data_dir": tmp_path}, config_file=file)
    # THEN
    assert (loaded.settings.port, loaded.settings.ui_port, loaded.settings.search_k) == (3001, 2002, 3)
    assert loaded.settings.chunk_tokens == 200
    assert loaded.origins["port"] == "option"
    assert loaded.origins["ui_port"] == "environment STRONGROOM_UI_PORT"
    assert loaded.origins["search_k"] == f"file {file}"
    assert loaded.origins["chunk_tokens"] == "default"


def test_the_data_directory_holds_a_default_file(tmp_path: Path) -> None:
    write(tmp_path / "strongroom.toml", "search_k = 5\n")
    assert load({"data_dir": tmp_path}).settings.search_k == 5


def test_an_unknown_key_in_the_file_is_an_error_naming_it(tmp_path: Path) -> None:
    file = write(tmp_path / "s.toml", "serach_k = 3\n")
    with pytest.raises(ConfigError, match="serach_k = 3"):
        load(config_file=file)


def test_an_unknown_environment_variable_is_an_error_naming_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_DATADIR", "/x")
    with pytest.raises(ConfigError, match="STRONGROOM_DATADIR='/x'"):
        load()


@pytest.mark.parametrize(
    ("key", "value"), [("port", "many"), ("allow_remote", "perhaps"), ("ocr", "sometimes"), ("port", "70000")]
)
def test_a_malformed_value_is_an_error_naming_key_and_value(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    monkeypatch.setenv(f"STRONGROOM_{key.upper()}", value)
    with pytest.raises(ConfigError, match=f"{key} = '{value}'"):
        load()


def test_a_secret_is_not_repeated_in_errors(tmp_path: Path) -> None:
    file = write(tmp_path / "s.toml", "qdrant_api_key = 12345\n")
    with pytest.raises(ConfigError) as caught:
        load(config_file=file)
    assert "12345" not in str(caught.value)


def test_a_missing_named_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(config_file=tmp_path / "none.toml")


def test_broken_toml_is_an_error_naming_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "s.toml", "port = = 1")
    with pytest.raises(ConfigError, match=r"s\.toml"):
        load(config_file=file)


@pytest.mark.parametrize(("old", "new"), [("quotes", "exact"), ("mixed", "fluent"), ("prose", "fluent")])
def test_a_renamed_answer_style_names_its_new_name(old: str, new: str) -> None:
    with pytest.raises(ConfigError, match=f"`{old}` is `{new}`"):
        load({"answer_style": old})
