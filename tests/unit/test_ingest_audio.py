"""Recordings: decoded, cut at pauses, located by time; a tiny Whisper with random weights runs for real."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest.mime import detect
from ingest.parse import audio, parse_file
from ingest.sandbox import ParserPool
from models.defaults import open_speech
from models.registry import Registry
from models.speech import WhisperSpeech
from strongroom.errors import TRIED_AGAIN, ModelError, ParseError
from tests.fakes import FakeSpeech, FakeTokenizer

FILES = Path(__file__).parent.parent / "files"
RATE = 16_000


def _tone(seconds: float, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "mime", "kind", "subtype", "rate"),
    [
        ("a.wav", "audio/wav", "WAV", "PCM_16", 44_100),
        ("a.flac", "audio/flac", "FLAC", "PCM_16", 8_000),
        ("a.ogg", "audio/ogg", "OGG", "VORBIS", 16_000),
        ("a.mp3", "audio/mpeg", "MP3", "MPEG_LAYER_III", 44_100),
        ("called.txt", "audio/wav", "WAV", "FLOAT", 48_000),
    ],
)
def test_recordings_of_all_kinds(tmp_path: Path, name: str, mime: str, kind: str, subtype: str, rate: int) -> None:
    stereo = np.stack([_tone(3, rate), _tone(3, rate)], axis=1)
    soundfile.write(tmp_path / name, stereo, rate, format=kind, subtype=subtype)
    assert detect(tmp_path / name) == mime
    document = parse_file(tmp_path / name, mime, speech=FakeSpeech())
    assert document.text.strip() == "3 seconds, peak 0.5."
    assert [(p.number, p.locator.kind, p.locator.label) for p in document.pages] == [(None, "time", "0:00:00-0:00:03")]


@pytest.mark.parametrize(("name", "mime"), [("tone.m4a", "audio/mp4"), ("tone.mp3", "audio/mpeg")])
def test_files_that_an_encoder_wrote(name: str, mime: str) -> None:
    if mime == "audio/mp4" and audio.shutil.which("ffmpeg") is None:
        pytest.skip("FFmpeg is not installed (apt install ffmpeg)")
    assert detect(FILES / name) == mime
    assert parse_file(FILES / name, mime, speech=FakeSpeech()).text.startswith("2 seconds, peak")


def test_without_ffmpeg_the_reason_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio.shutil, "which", lambda _: None)
    with pytest.raises(ParseError, match="needs FFmpeg") as caught:
        parse_file(FILES / "tone.m4a", "audio/mp4", speech=FakeSpeech())
    assert caught.value.hint.endswith(TRIED_AGAIN)


def test_a_long_recording_is_cut_at_its_pauses(tmp_path: Path) -> None:
    quiet = np.zeros(RATE, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([_tone(24.5), quiet, _tone(20), quiet, _tone(10)]), RATE)
    document = parse_file(tmp_path / "a.wav", "audio/wav", speech=FakeSpeech())
    starts = [page.locator.label.partition("-")[0] for page in document.pages]
    assert starts == ["0:00:00", "0:00:24", "0:00:46"]


def test_silence_and_damage_are_refused_by_reason(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE, dtype=np.float32), RATE)
    with pytest.raises(ParseError, match="no speech"):
        parse_file(tmp_path / "a.wav", "audio/wav", speech=FakeSpeech())
    (tmp_path / "b.flac").write_bytes(b"fLaC" + bytes(range(256)))
    with pytest.raises(ParseError, match="damaged recording"):
        parse_file(tmp_path / "b.flac", "audio/flac", speech=FakeSpeech())


def test_without_weights_the_reason_names_model_and_command(tmp_path: Path) -> None:
    speech = open_speech(tmp_path, "whisper-base")
    assert not speech.installed
    with pytest.raises(ParseError, match="needs the speech model whisper-base") as caught:
        parse_file(FILES / "tone.mp3", "audio/mpeg", speech=speech)
    assert "strongroom models import whisper-base" in caught.value.hint
    assert caught.value.hint.endswith(TRIED_AGAIN)


# ------------------------------------------------------------------------------------------------ a real Whisper


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Whisper is published in, with one layer of random weights and a tokenizer of single letters."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    folder = tmp_path_factory.mktemp("whisper")
    end = "<|endoftext|>"
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(vocab=letters, merges=[], unk_token=end, bos_token=end, eos_token=end)
    marks = [end, "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startofprev|>"]
    tokenizer.add_tokens([*marks, "<|notimestamps|>"], special_tokens=True)
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    number = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in [*marks, "<|notimestamps|>"]}
    torch.manual_seed(0)
    sizes = {f"{part}_{what}": 1 for part in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            d_model=8,
            encoder_ffn_dim=8,
            decoder_ffn_dim=8,
            max_target_positions=20,
            pad_token_id=number[end],
            bos_token_id=number[end],
            eos_token_id=number[end],
            decoder_start_token_id=number["<|startoftranscript|>"],
            begin_suppress_tokens=None,
            **sizes,
        )
    )
    generation = model.generation_config
    generation._from_model_config = False
    generation.max_length = 20
    generation.is_multilingual = True
    generation.no_timestamps_token_id = number["<|notimestamps|>"]
    generation.lang_to_id = {"<|en|>": number["<|en|>"]}
    generation.task_to_id = {"transcribe": number["<|transcribe|>"], "translate": number["<|translate|>"]}
    generation.prev_sot_token_id = number["<|startofprev|>"]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def test_a_whisper_folder_is_loaded_and_run(whisper: Path) -> None:
    speech = pickle.loads(pickle.dumps(WhisperSpeech("tiny", whisper)))
    assert speech.installed
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    first = speech.transcribe(noise)
    assert first == speech.transcribe(noise)
    assert all(isinstance(text, str) and text for text in first)


def test_a_whisper_runs_inside_a_confined_child(whisper: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    speech = WhisperSpeech("tiny", whisper)
    with ParserPool(1, tokenizer=FakeTokenizer(), speech=speech, spool=tmp_path / "spool") as pool:
        document, _ = pool.submit(tmp_path / "a.wav", "audio/wav").result(timeout=240)
    assert document.pages[0].locator.label == "0:00:00-0:00:01"
    assert document.warnings == ("transcribed by tiny: words may be misheard",)


def test_an_imported_whisper_is_found_by_its_id(whisper: Path, tmp_path: Path) -> None:
    from models.incoming import path_sha256

    Registry(tmp_path).import_file("whisper-base", whisper, path_sha256(whisper))
    speech = open_speech(tmp_path, "whisper-base")
    assert speech.installed
    assert speech.path == tmp_path / "whisper-base" / "files"


def test_a_folder_that_is_no_whisper_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="no Whisper model"):
        WhisperSpeech("odd", tmp_path).transcribe(np.zeros(RATE, dtype=np.float32))


def test_pickled_weights_are_refused(whisper: Path, tmp_path: Path) -> None:
    for path in whisper.iterdir():
        if path.suffix != ".safetensors":
            os.link(path, tmp_path / path.name)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match="no Whisper model"):
        WhisperSpeech("odd", tmp_path).transcribe(np.zeros(RATE, dtype=np.float32))
