"""Images as scanned pages: each frame is a page, read by OCR. Lengths in points by the image's dpi, else 72 an inch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from ingest.parse.build import DocumentBuilder, Words, no_boxes
from ingest.parse.ocr import read_image, words_of
from ingest.parse.scans import FAINT
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import OcrMode, ParsedDocument

MAX_PIXELS = 150_000_000  # a declared size beyond this is a decompression bomb, not a scan
_OCR_PIXELS = 12_000_000


def parse_image(
    path: Path, mime: str, *, ocr: OcrMode = "auto", heartbeat: Callable[[], None] = lambda: None
) -> ParsedDocument:
    """Read every frame of an image by OCR.

    Raises `ParseError` when it is damaged or OCR is off, `QuarantineError` when its declared size is absurd.
    """
    if ocr == "never":
        raise ParseError("an image, and OCR is switched off", hint="set ocr to auto and ingest it again")
    builder = DocumentBuilder()
    if mime == "image/heic":
        import pi_heif  # type: ignore[import-untyped]

        pi_heif.register_heif_opener(thumbnails=False)
    try:
        with Image.open(path) as image:
            # An animation is one picture for our purpose; a TIFF holds pages.
            frames = ImageSequence.Iterator(image) if mime == "image/tiff" else iter((image,))
            for number, frame in enumerate(frames, start=1):
                if frame.width * frame.height > MAX_PIXELS:
                    raise QuarantineError(
                        f"the image is {frame.width} x {frame.height} pixels, which is over the limit",
                        hint="scale it down and ingest the copy",
                    )
                _add_frame(builder, frame, number)
                heartbeat()
    except Image.DecompressionBombError as exc:
        raise QuarantineError("the image's size is over the limit", hint="scale it down and ingest the copy") from exc
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as exc:
        raise ParseError("damaged image: it cannot be decoded", hint="get a fresh copy of the file") from exc
    return builder.build(mime)


def _add_frame(builder: DocumentBuilder, frame: Image.Image, number: int) -> None:
    dpi_x, dpi_y = _dpi(frame)
    upright = ImageOps.exif_transpose(frame)
    if upright.size != frame.size:
        dpi_x, dpi_y = dpi_y, dpi_x
    if upright.mode in {"RGBA", "LA", "PA"} or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        upright = Image.new("RGB", rgba.size, "white")
        upright.paste(rgba, mask=rgba.getchannel("A"))
    width, height = upright.size
    shrink = min(1.0, (_OCR_PIXELS / (width * height)) ** 0.5)
    pixels = upright.convert("RGB")
    if shrink < 1.0:
        pixels = pixels.resize((max(1, round(width * shrink)), max(1, round(height * shrink))))
    array = np.asarray(pixels)[:, :, ::-1].copy()
    # Unequal resolutions (fax: 204 x 98) would need two factors; the page is then shown with square pixels.
    points = 72 / dpi_x if abs(dpi_x - dpi_y) < 1 else 1.0
    blank = int(array.max()) - int(array.min()) < FAINT  # saves OCR's seconds
    result = None if blank else read_image(array, points_per_pixel=points / shrink)
    if result is None or not result.lines:
        builder.warn(f"page {number}: no text found by OCR")
    builder.add_page(
        words_of(result) if result is not None else Words([], [], no_boxes()),
        width=width * points,
        height=height * points,
        ocr_confidence=result.confidence if result is not None and result.lines else None,
    )


def _dpi(frame: Image.Image) -> tuple[float, float]:
    """The resolution in the file when it is a believable one, else 72."""
    declared = frame.info.get("dpi", (72.0, 72.0))
    try:
        x, y = float(declared[0]), float(declared[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return 72.0, 72.0
    return (x, y) if 36 <= x <= 2400 and 36 <= y <= 2400 else (72.0, 72.0)
