"""Whisper from a local folder, through transformers. Nothing is fetched, and pickled weights are refused.

Pickles by path: each parser process loads the weights when its first recording arrives.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NEW_TOKENS = 440  # Whisper's text positions are 448, and the prompt takes some


class WhisperSpeech:
    """A Whisper folder (config.json, model.safetensors, tokenizer) behind the `SpeechModel` port.

    `path` is `None` when the model is not installed.
    """

    sample_rate = 16_000

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self.path = path

    @property
    def installed(self) -> bool:
        return self.path is not None

    def transcribe(self, samples: NDArray[np.float32]) -> list[str]:
        """The sentences spoken in up to 30 s of mono sound; the language is recognised. Raises `ModelError`."""
        import torch

        processor, model = self._parts
        inputs = processor(samples, sampling_rate=self.sample_rate, return_tensors="pt", return_attention_mask=True)
        with torch.inference_mode():
            ids = model.generate(
                inputs.input_features.to(model.dtype),
                attention_mask=inputs.attention_mask,
                return_timestamps=True,
                do_sample=False,
                num_beams=1,
                max_new_tokens=min(_NEW_TOKENS, model.config.max_target_positions - 8),
            )
        decoded = processor.tokenizer.decode(ids[0], skip_special_tokens=True, output_offsets=True)
        pieces = [str(piece["text"]).strip() for piece in decoded["offsets"]]
        if not any(pieces):
            pieces = [str(decoded["text"]).strip()]
        return [piece for piece in pieces if piece]

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        if self.path is None:
            raise ModelError(f"the model {self.name} is not installed", hint="See `strongroom models list`.")
        try:
            processor = WhisperProcessor.from_pretrained(self.path, local_files_only=True)
            model = WhisperForConditionalGeneration.from_pretrained(
                self.path, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ModelError(
                f"{self.name}: the folder holds no Whisper model that can be loaded ({type(exc).__name__})",
                hint="It needs config.json, model.safetensors, preprocessor_config.json and the tokenizer's files.",
            ) from exc
        return processor, model.eval()

    def __reduce__(self) -> tuple[type[WhisperSpeech], tuple[str, Path | None]]:
        return WhisperSpeech, (self.name, self.path)
