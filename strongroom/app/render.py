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

if TYPE_CHECKING:
    from strongroom.blobs import BlobStore
    from strongroom.types import PageView

MEMORY_BYTES = 2 << 30
SECONDS = 30.0
MAX_PIXELS = 16_000_000
KEPT_IMAGES = 64
MAX_DPI = 300


class Renderer:
    """Draws pages and keeps the newest images. Thread-safe."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._images: OrderedDict[tuple[str, str, int, int], bytes] = OrderedDict()

    def page(self, view: PageView, *, dpi: int) -> bytes:
        """PNG of the page of a readable document. Raises `NotFoundError` when its format has no page image."""
        if view.mime != "application/pdf" and not view.mime.startswith("image/"):
            raise NotFoundError(f"{view.document.name} has no page images", hint="Its text is shown instead.")
        key = (view.document.id, view.version_id, view.index, min(max(dpi, 36), MAX_DPI))
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        data = self._blobs.read(view.document.id, view.version_id)
        image = self._draw(data, view.mime, view.index, key[3])
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

    def _draw(self, data: bytes, mime: str, index: int, dpi: int) -> bytes:
        with self._lock:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_confine)
            pool = self._pool
        try:
            return pool.submit(draw, data, mime, index, dpi).result(timeout=SECONDS)
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
            for process in list((pool._processes or {}).values()):
                process.kill()  # it may be the one that hangs
            pool.shutdown(wait=False, cancel_futures=True)


def _confine() -> None:
    from strongroom import airgap

    airgap.prepare_environment()
    airgap.enforce()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def draw(data: bytes, mime: str, index: int, dpi: int) -> bytes:
    """PNG of page `index` at `dpi`, fewer when the page is too large. Runs in the child."""
    from PIL import Image, ImageOps

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
        page.render(scale=scale).to_pil().save(out, "PNG")
    else:
        Image.MAX_IMAGE_PIXELS = 8 * MAX_PIXELS
        with Image.open(io.BytesIO(data)) as image:
            image.seek(index)
            shown = ImageOps.exif_transpose(image.convert("RGB"))
            shrink = min(1.0, (MAX_PIXELS / (shown.width * shown.height)) ** 0.5)
            if shrink < 1:
                shown = shown.resize((int(shown.width * shrink), int(shown.height * shrink)))
            shown.save(out, "PNG")
    return out.getvalue()
