"""Page images for the viewer, drawn in a child process: PDFium reads hostile files, and must not do so beside the keys.

The child has a memory limit and no sockets; when it dies, the request fails and the next one gets a new child.
"""

from __future__ import annotations

import io
import multiprocessing
import resource
import threading
from collections import OrderedDict
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from strongroom.errors import NotFoundError, ParseError, StrongroomError
from strongroom.layout import boxes_for

if TYPE_CHECKING:
    from strongroom.blobs import BlobStore
    from strongroom.types import Box, PageView

MEMORY_BYTES = 2 << 30
SECONDS = 30.0
MAX_PIXELS = 16_000_000
KEPT_IMAGES = 64
MAX_DPI = 300
_MARGIN = 2.0  # points around a blacked out word: boxes of fonts can be tighter than what is drawn


class Renderer:
    """Draws pages and keeps the newest images. Thread-safe."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._images: OrderedDict[tuple[str, str, int, int, tuple[Box, ...]], bytes] = OrderedDict()

    def page(self, view: PageView, *, dpi: int) -> bytes:
        """PNG of the page of a readable document, what is withheld of it blacked out.

        Raises `NotFoundError` when its format has no page image, or when nobody knows where the withheld words stand.
        """
        if view.mime != "application/pdf" and not view.mime.startswith("image/"):
            raise NotFoundError(f"{view.document.name} has no page images", hint="Its text is shown instead.")
        black = _black_boxes(view)
        key = (view.document.id, view.version_id, view.index, min(max(dpi, 36), MAX_DPI), black)
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        data = self._blobs.read(view.document.id, view.version_id)
        image = self._draw(data, view.mime, view.index, key[3], black)
        with self._lock:
            self._images[key] = image
            while len(self._images) > KEPT_IMAGES:
                self._images.popitem(last=False)
        return image

    def forget(self, document_id: str) -> None:
        """Drop kept images of a deleted document."""
        with self._lock:
            for key in [k for k in self._images if k[0] == document_id]:
                del self._images[key]

    def _draw(self, data: bytes, mime: str, index: int, dpi: int, black: tuple[Box, ...]) -> bytes:
        with self._lock:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=confine)
            pool = self._pool
        try:
            return pool.submit(draw, data, mime, index, dpi, black).result(timeout=SECONDS)
        except (BrokenProcessPool, TimeoutError) as exc:
            self.close()
            raise ParseError("the page could not be drawn", hint="Its text can still be read.") from exc
        except StrongroomError:
            raise
        except Exception as exc:  # whatever a hostile file provokes in the child
            raise ParseError(
                f"the page could not be drawn ({type(exc).__name__})", hint="Its text can still be read."
            ) from exc

    def close(self) -> None:
        """End the child. The next page starts a new one."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            end_pool(pool)


def end_pool(pool: ProcessPoolExecutor) -> None:
    """End a pool at once, whatever its processes are doing."""
    for process in list((pool._processes or {}).values()):
        process.kill()  # it may be the one that hangs
    pool.shutdown(wait=False, cancel_futures=True)


def confine() -> None:
    """Take network, files and unbounded memory from a child that reads what others wrote."""
    from strongroom import airgap

    airgap.prepare_environment()
    airgap.enforce()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _black_boxes(view: PageView) -> tuple[Box, ...]:
    """Where the withheld words stand, as fractions of width and height."""
    if not view.withheld:
        return ()
    boxes: list[Box] = []
    for start, end in view.withheld:
        whole = (start, end) == (view.start, view.end)  # then what is drawn beside the words is withheld too
        found = () if whole else boxes_for(view.layout, start, end)
        if not found or not view.width or not view.height:
            raise NotFoundError(
                "this page holds personal data that is withheld, and its place on the page is not known",
                hint="Its text is shown instead.",
            )
        boxes += found
    width, height = view.width or 1.0, view.height or 1.0
    return tuple(
        ((x0 - _MARGIN) / width, (y0 - _MARGIN) / height, (x1 + _MARGIN) / width, (y1 + _MARGIN) / height)
        for x0, y0, x1, y1 in boxes
    )


def draw(data: bytes, mime: str, index: int, dpi: int, black: tuple[Box, ...] = ()) -> bytes:
    """PNG of page `index` at `dpi`, fewer when the page is too large; `black` boxes filled. Runs in the child."""
    from PIL import Image, ImageDraw, ImageOps

    out = io.BytesIO()
    if mime == "application/pdf":
        import pypdfium2

        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as exc:
            if getattr(exc, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD:
                raise ParseError(
                    "the original is locked by a password, so its pages cannot be drawn",
                    hint="Its text can still be read.",
                ) from exc
            raise
        page = document[index]
        width, height = page.get_size()
        scale = min(dpi / 72, (MAX_PIXELS / max(width * height, 1.0)) ** 0.5)
        shown = page.render(scale=scale).to_pil()
    else:
        Image.MAX_IMAGE_PIXELS = 8 * MAX_PIXELS
        with Image.open(io.BytesIO(data)) as image:
            image.seek(index)
            shown = ImageOps.exif_transpose(image.convert("RGB"))
            shrink = min(1.0, (MAX_PIXELS / (shown.width * shown.height)) ** 0.5)
            if shrink < 1:
                shown = shown.resize((int(shown.width * shrink), int(shown.height * shrink)))
    pen = ImageDraw.Draw(shown)
    for x0, y0, x1, y1 in black:
        pen.rectangle((x0 * shown.width, y0 * shown.height, x1 * shown.width, y1 * shown.height), fill="black")
    shown.save(out, "PNG")
    return out.getvalue()
