"""Small documents that tests make for themselves: PDFs written by hand, office files by their libraries."""

from __future__ import annotations

import ctypes
import io
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pypdfium2 as pdfium
from PIL import Image, ImageDraw, ImageFont

from ingest.parse import convert


@dataclass(frozen=True)
class PdfPage:
    """A page of lines `(x, y, text)` in PDF user space (origin bottom left), 12 points Helvetica."""

    lines: Sequence[tuple[float, float, str]] = ()
    media: tuple[float, float, float, float] = (0, 0, 612, 792)
    crop: tuple[float, float, float, float] | None = None
    rotate: int = 0
    image: Image.Image | None = None  # fills the page, or the box (x, y, width, height)
    image_box: tuple[float, float, float, float] | None = None
    extra: str = ""  # more content operators


def make_pdf(path: Path, pages: Sequence[PdfPage], *, title: str | None = None) -> Path:
    """Write an uncompressed PDF 1.4 file object by object."""
    objects: list[bytes] = [b"", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in pages:
        images = b""
        content = page.extra
        if page.image is not None:
            rgb = page.image.convert("RGB")
            data = zlib.compress(rgb.tobytes())
            head = (
                f"<< /Type /XObject /Subtype /Image /Width {rgb.width} /Height {rgb.height} /ColorSpace /DeviceRGB "
                f"/BitsPerComponent 8 /Filter /FlateDecode /Length {len(data)} >>\nstream\n"
            )
            objects.append(head.encode() + data + b"\nendstream")
            images = f"/XObject << /Im0 {len(objects)} 0 R >>".encode()
            width, height = page.media[2] - page.media[0], page.media[3] - page.media[1]
            x, y, width, height = page.image_box or (page.media[0], page.media[1], width, height)
            content += f"q {width} 0 0 {height} {x} {y} cm /Im0 Do Q\n"
        for x, y, text in page.lines:
            escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            content += f"BT /F1 12 Tf {x} {y} Td ({escaped}) Tj ET\n"
        raw = content.encode("latin-1")
        objects.append(b"<< /Length %d >>\nstream\n" % len(raw) + raw + b"endstream")
        crop = f"/CropBox [{' '.join(map(str, page.crop))}] " if page.crop else ""
        body = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{' '.join(map(str, page.media))}] {crop}/Rotate {page.rotate} "
            f"/Contents {len(objects)} 0 R /Resources << /Font << /F1 3 0 R >> {images.decode()} >> >>"
        )
        objects.append(body.encode())
        kids.append(len(objects))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{k} 0 R' for k in kids)}] >>".encode()
    trailer = b""
    if title is not None:
        objects.append(f"<< /Title ({title}) >>".encode("latin-1"))
        trailer = f"/Info {len(objects)} 0 R ".encode()
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n" % number + body + b"\nendobj\n")
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        out.write(b"%010d 00000 n \n" % place)
    out.write(b"trailer\n<< /Size %d /Root 1 0 R " % (len(objects) + 1) + trailer + b">>\n")
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    path.write_bytes(out.getvalue())
    return path


def text_pdf(path: Path, *pages: str) -> Path:
    """A PDF with one page for each text; its lines stand 16 points apart from the top."""
    made = []
    for text in pages:
        lines = [(72.0, 720.0 - 16 * i, line) for i, line in enumerate(text.split("\n")) if line]
        made.append(PdfPage(lines=lines))
    return make_pdf(path, made)


def attach(path: Path, attached: Mapping[str, bytes | None], *, pinned: Mapping[str, bytes] | None = None) -> Path:
    """Attach files to a PDF: to the document (`None`: the name alone), or `pinned` to its first page."""
    with closing(pdfium.PdfDocument(path.read_bytes())) as document:
        for name, data in attached.items():
            attachment = document.new_attachment(name)
            if data is not None:
                attachment.set_data(data)
        page = document[0]
        for name, data in (pinned or {}).items():
            note = pdfium.raw.FPDFPage_CreateAnnot(page, pdfium.raw.FPDF_ANNOT_FILEATTACHMENT)
            wide = ctypes.create_string_buffer(name.encode("utf-16-le") + b"\0\0")
            handle = pdfium.raw.FPDFAnnot_AddFileAttachment(
                note, ctypes.cast(wide, ctypes.POINTER(pdfium.raw.FPDF_WCHAR))
            )
            pdfium.PdfAttachment(handle, document).set_data(data)
            pdfium.raw.FPDFPage_CloseAnnot(note)
        page.close()
        document.save(path)
    return path


def scan(lines: Sequence[str], *, size: tuple[int, int] = (1275, 1650), font_size: int = 40) -> Image.Image:
    """A page image (150 dpi letter) with these lines printed on it, the first at x = 150, y = 200 pixels."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=font_size)
    for index, line in enumerate(lines):
        draw.text((150, 200 + index * 2 * font_size), line, fill="black", font=font)
    return image


def save_as(source: Path, target: Path) -> Path:
    """Have LibreOffice save a document in another format, the one of `target`'s ending."""
    program = Path(convert.__file__).with_name("lokit.py")
    copy = target.with_name(source.name)  # it leaves a lock beside what it reads
    copy.write_bytes(source.read_bytes())
    places = [f"file://{place}" for place in (target.parent / "profile", copy, target)]
    argv = [sys.executable, str(program), str(convert.libreoffice()), *places, target.suffix[1:]]
    subprocess.run(argv, check=True, timeout=100)
    return target


def lock_pdf(path: Path, text: str, password: str) -> None:
    """A page with this text that opens with this password."""
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path), encrypt=StandardEncryption(password, strength=128))
    canvas.drawString(72, 700, text)
    canvas.save()


def encrypted_pdf_head(path: Path) -> Path:
    """A PDF with a standard security handler whose keys fit no password, the empty one included."""
    text_pdf(path, "secret")
    data = path.read_bytes()
    handler = (
        b"/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <"
        + b"11" * 32
        + b"> /U <"
        + b"22" * 32
        + b"> >> /ID [<33333333333333333333333333333333> <33333333333333333333333333333333>] "
    )
    path.write_bytes(data.replace(b"trailer\n<< ", b"trailer\n<< " + handler))
    return path
