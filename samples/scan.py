"""Turn a clean page into what an office scanner makes of it: an image of the page and nothing else.

The page is rendered by PDFium, turned by half a degree, blurred a little, given grain and the uneven light of a
flatbed, and stored as one grey JPEG in a PDF without a text layer. The grain comes from a seeded generator.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
from PIL import Image, ImageFilter
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

DPI = 150
ANGLE = 0.55
SEED = 1897


def scan(clean: bytes, target: Path, *, title: str) -> None:
    """Write the first page of the PDF `clean` to `target` as an image-only PDF."""
    document = pdfium.PdfDocument(clean)
    page = document[0].render(scale=DPI / 72).to_pil().convert("L")
    document.close()
    turned = page.rotate(ANGLE, resample=Image.Resampling.BICUBIC, fillcolor=255)
    soft = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.55)), dtype=np.float32)
    rng = np.random.default_rng(SEED)
    light = np.linspace(0.0, 9.0, soft.shape[1], dtype=np.float32)[None, :]
    grain = rng.normal(0.0, 4.0, soft.shape).astype(np.float32)
    paper = np.clip(soft * 0.93 + 10.0 - light + grain, 0, 255).astype(np.uint8)
    specks = rng.integers(0, (paper.shape[0] - 2, paper.shape[1] - 2), (70, 2))
    for row, column in specks:
        paper[row : row + 2, column : column + 2] = 90
    jpeg = io.BytesIO()
    Image.fromarray(paper, "L").save(jpeg, "JPEG", quality=52, optimize=True)
    canvas = Canvas(str(target), pagesize=A4, invariant=1)
    canvas.setTitle(title)
    jpeg.seek(0)
    canvas.drawImage(ImageReader(jpeg), 0, 0, *A4)
    canvas.save()
