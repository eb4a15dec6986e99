"""Formats that another program reads for us: pandoc (in its own package) and LibreOffice (when it is installed).

Each runs as a process of its own inside the parser child (`ingest.parse.tools`). pandoc turns a document into HTML
under `--sandbox`, so that the document can name no other file. LibreOffice turns a legacy one into today's format.
Both results go through the parser of that format, so sections and slides are located as everywhere.
"""

from __future__ import annotations

import re
import shutil
import sys
from functools import lru_cache
from pathlib import Path

from ingest.mime import DOCX, PPTX
from ingest.parse.archive import check_archive
from ingest.parse.build import DocumentBuilder
from ingest.parse.office import add_sections, html_blocks, parse_office
from ingest.parse.text import read_text
from ingest.parse.tools import damaged, run_tool, scratch
from strongroom.errors import TRIED_AGAIN, ParseError
from strongroom.types import ParsedDocument

_SECONDS = 120.0
_HEAP = "1g"
_READERS = {
    "application/rtf": "rtf",
    "application/epub+zip": "epub",
    "application/vnd.oasis.opendocument.text": "odt",
    "text/x-rst": "rst",
    "text/org": "org",
}
_LEGACY = {
    "application/msword": ("doc", "docx", DOCX),
    "application/vnd.ms-powerpoint": ("ppt", "pptx", PPTX),
}
_OFFICE_FOLDERS = ("/usr/lib/libreoffice/program", "/usr/lib64/libreoffice/program", "/opt/libreoffice/program")
_BOLD_LINE = re.compile(r"<p><strong>([^<\n]{2,100})</strong></p>")


def parse_with_pandoc(path: Path, mime: str) -> ParsedDocument:
    """Parse rich text, e-books, OpenDocument text, reStructuredText or Org, cut into sections at their headings.

    Raises `ParseError` when it is damaged, `QuarantineError` for a decompression bomb or a hang.
    """
    reader = _READERS[mime]
    builder = DocumentBuilder()
    with scratch() as folder:
        source = folder / f"source.{reader}"
        if mime.startswith("text/"):
            text, warnings, _ = read_text(path)
            source.write_text(text, encoding="utf-8")
            for warning in warnings:
                builder.warn(warning)
        else:
            if mime != "application/rtf":
                check_archive(path, doctype=True)
            source = path
        output = folder / "output.html"
        argv = [_pandoc(), "+RTS", f"-M{_HEAP}", "-RTS", "--sandbox", "--quiet", f"--from={reader}", "--to=html"]
        status = run_tool(
            [*argv, "--wrap=none", str(source)], name="pandoc", folder=folder, output=output, seconds=_SECONDS
        )
        if status != 0:
            raise damaged("pandoc", status)
        html = output.read_text(encoding="utf-8", errors="replace")
    if reader == "rtf":  # it knows no headings: people set a short line in bold
        html = _BOLD_LINE.sub(r"<h2>\1</h2>", html)
    title = add_sections(builder, html_blocks(html)) if html.strip() else None
    return builder.build(mime, title=title)


def parse_legacy(path: Path, mime: str) -> ParsedDocument:
    """Parse a .doc or .ppt file through LibreOffice.

    Raises `ParseError` when LibreOffice is not installed or cannot read it, `QuarantineError` for a hang or a bomb.
    """
    program = libreoffice()
    if program is None:
        raise ParseError(
            "needs LibreOffice, which is not installed here",
            hint=f"install libreoffice-writer-nogui and libreoffice-impress-nogui (Debian), or save the file in "
            f"today's format. {TRIED_AGAIN}",
        )
    old, new, target = _LEGACY[mime]
    with scratch() as folder:
        source = folder / f"source.{old}"
        source.symlink_to(path)
        result = folder / f"result.{new}"
        urls = [f"file://{place}" for place in (folder / "profile", source, result)]
        argv = [sys.executable, "-I", str(Path(__file__).with_name("lokit.py")), str(program), *urls, new]
        status = run_tool(argv, name="LibreOffice", folder=folder, output=folder / "log", seconds=_SECONDS)
        if status != 0 or not result.exists():
            raise damaged("LibreOffice", status)
        document = parse_office(result, target)
    return ParsedDocument(
        text=document.text,
        pages=document.pages,
        mime=mime,
        title=document.title,
        headings=document.headings,
        warnings=document.warnings,
    )


@lru_cache(maxsize=1)
def _pandoc() -> str:
    import pypandoc  # type: ignore[import-untyped]

    return str(Path(pypandoc.__file__).parent / "files" / "pandoc")


def libreoffice() -> Path | None:
    """The folder of LibreOffice's program and libraries, `None` when it is not installed."""
    script = shutil.which("soffice")
    folders = [Path(script).resolve().parent] if script else []
    folders += [Path(folder) for folder in _OFFICE_FOLDERS]
    return next((folder for folder in folders if (folder / "soffice.bin").exists()), None)
