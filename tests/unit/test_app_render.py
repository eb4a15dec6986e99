"""Page images come from a child; what it cannot draw is said in words, and the next page is drawn."""

import io
from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from strongroom.app.render import MAX_PIXELS, Renderer, draw
from strongroom.blobs import BlobStore
from strongroom.errors import ParseError
from strongroom.types import DocumentRef, Locator, PageView
from tests.hostile_samples import giant_page_pdf
from tests.ingest_samples import lock_pdf, text_pdf


class _Originals:
    """Finds the bytes of a document in the file of that name."""

    def read(self, document_id: str, _version_id: str) -> bytes:
        return Path(document_id).read_bytes()


def _view(path: Path) -> PageView:
    document = DocumentRef(str(path), path.name, path.as_uri())
    return PageView(document, "v", 0, 1, 1, Locator("page", "1"), 0, 1, "", 1.0, 1.0, b"", "application/pdf")


def test_an_original_under_a_password_says_so_and_the_next_page_is_drawn(tmp_path: Path) -> None:
    lock_pdf(tmp_path / "locked.pdf", "the rent", "s3cret")
    open_one = text_pdf(tmp_path / "open.pdf", "the rent")
    renderer = Renderer(cast(BlobStore, _Originals()))
    try:
        with pytest.raises(ParseError, match="locked by a password") as caught:
            renderer.page(_view(tmp_path / "locked.pdf"), dpi=72)
        assert "text can still be read" in caught.value.hint
        assert renderer.page(_view(open_one), dpi=72).startswith(b"\x89PNG")
    finally:
        renderer.close()


def test_a_giant_page_is_drawn_small(tmp_path: Path) -> None:
    giant = giant_page_pdf(tmp_path / "a.pdf", 10**6, content="0 0 m 900000 900000 l S")
    image = Image.open(io.BytesIO(draw(giant.read_bytes(), "application/pdf", 0, 300)))
    assert 0 < image.width * image.height <= 1.01 * MAX_PIXELS
