"""Recordings as text: speech recognised window by window, each located by its time.

soundfile (libsndfile) decodes WAV, MP3, FLAC and Ogg; FFmpeg, as a process of its own where it is installed, decodes
AAC (.m4a). The speech model comes in through a port: its weights lie where the operator put them, or there are none,
and then the reason says which.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.parse.build import DocumentBuilder
from ingest.parse.tools import run_tool, scratch
from strongroom.errors import TRIED_AGAIN, ParseError
from strongroom.ports import SpeechModel
from strongroom.types import ParsedDocument

Samples = NDArray[np.float32]

_WINDOW_SECONDS = 28.0  # Whisper hears 30 s at once
_SEEK_SECONDS = 6.0  # of which the end is looked through for a pause to cut at
_PART_SECONDS = 1500  # of sound in one file from FFmpeg: 48 MB, below the child's limit for a file
_MAX_SECONDS = 24 * 3600.0
_SILENCE = 0.001  # root mean square; a model makes up words for less
_FFMPEG = frozenset({"audio/mp4", "audio/aac"})


def parse_audio(
    path: Path, mime: str, *, speech: SpeechModel | None = None, heartbeat: Callable[[], None] = lambda: None
) -> ParsedDocument:
    """Transcribe a recording; each page is up to 28 s of it, labelled "0:00:28-0:00:55".

    Raises `ParseError` when there is no speech model or no FFmpeg, when the file is damaged, or when nobody speaks.
    """
    if speech is None:
        raise ParseError("a recording, and no speech model is set up", hint="set `speech` to a model of kind speech")
    if not speech.installed:
        raise ParseError(
            f"needs the speech model {speech.name}, which is not installed",
            hint=f"run: strongroom models import {speech.name} FOLDER --sha256 HEX. {TRIED_AGAIN}",
        )
    builder = DocumentBuilder()
    heard = False
    for begin, samples in _windows(_decoded(path, mime, speech.sample_rate), speech.sample_rate):
        length = len(samples) / speech.sample_rate
        if begin > _MAX_SECONDS:
            raise ParseError("the recording is longer than 24 hours", hint="split it into shorter files")
        loud = float(np.sqrt(np.mean(np.square(samples)))) >= _SILENCE if len(samples) else False
        spoken = [(text, None) for text in speech.transcribe(samples)] if loud else []
        heard = heard or any(text.strip() for text, _ in spoken)
        builder.add_block(spoken, kind="time", label=f"{clock(begin)}-{clock(begin + length)}", joiner="\n")
        heartbeat()
    if not heard:
        raise ParseError("no speech was recognised in the recording", hint="listen to it: it may be silent or music")
    builder.warn(f"transcribed by {speech.name}: words may be misheard")
    return builder.build(mime)


def clock(seconds: float) -> str:
    """A time as hours, minutes and seconds."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _windows(pieces: Iterator[Samples], rate: int) -> Iterator[tuple[float, Samples]]:
    """Windows of sound with their start in seconds, cut where it is quietest so that no word is halved."""
    size, seek = int(_WINDOW_SECONDS * rate), int(_SEEK_SECONDS * rate)
    held = np.empty(0, dtype=np.float32)
    begin = 0
    for piece in pieces:
        held = np.concatenate([held, piece])
        while len(held) >= size:
            cut = size - seek + _quietest(held[size - seek : size], rate)
            yield begin / rate, held[:cut]
            held, begin = held[cut:], begin + cut
    if len(held):
        yield begin / rate, held


def _quietest(samples: Samples, rate: int) -> int:
    """The middle of the quietest fifth of a second."""
    frame = rate // 5
    energy = [
        float(np.sum(np.square(samples[at : at + frame]))) for at in range(0, len(samples) - frame + 1, frame // 4)
    ]
    return int(np.argmin(energy)) * (frame // 4) + frame // 2


def _decoded(path: Path, mime: str, rate: int) -> Iterator[Samples]:
    """Mono sound at `rate`, a stretch at a time."""
    if mime not in _FFMPEG:
        yield from _stretches(path, rate)
        return
    program = shutil.which("ffmpeg")
    if program is None:
        raise ParseError(
            "needs FFmpeg to decode AAC sound, which is not installed here",
            hint=f"install ffmpeg, or save the recording as WAV, MP3 or FLAC. {TRIED_AGAIN}",
        )
    with scratch() as folder:
        target = folder / "part.wav"
        for part in range(int(_MAX_SECONDS) // _PART_SECONDS + 2):
            argv = [program, "-v", "error", "-y", "-protocol_whitelist", "file", "-ss", str(part * _PART_SECONDS)]
            argv += ["-i", f"file:{path}", "-t", str(_PART_SECONDS), "-vn", "-ac", "1", "-ar", str(rate), str(target)]
            status = run_tool(argv, name="FFmpeg", folder=folder, output=folder / "log", seconds=200)
            if status != 0 and part == 0:
                raise _damaged()
            pieces = list(_stretches(target, rate)) if status == 0 else []
            if not sum(map(len, pieces)):
                return
            yield from pieces


def _stretches(path: Path, rate: int) -> Iterator[Samples]:
    import soundfile  # type: ignore[import-untyped]

    try:
        with soundfile.SoundFile(path) as source:
            if not 1000 <= source.samplerate <= 400_000 or source.channels > 64:
                raise _damaged()
            while True:
                block = source.read(frames=10 * source.samplerate, dtype="float32", always_2d=True)
                if not len(block):
                    return
                yield _resampled(block.mean(axis=1), source.samplerate, rate)
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as exc:
        raise _damaged() from exc


def _resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    if rate == wanted:
        return samples
    from math import gcd

    from scipy.signal import resample_poly  # type: ignore[import-untyped]

    common = gcd(rate, wanted)
    made: Any = resample_poly(samples, wanted // common, rate // common)
    return made.astype(np.float32)  # type: ignore[no-any-return]


def _damaged() -> ParseError:
    return ParseError("damaged recording: it cannot be decoded", hint="get a fresh copy, or convert it to WAV")
