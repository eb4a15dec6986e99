"""Write the sample Word report, the slides and the workbook.

The three libraries stamp the time into what they write. The stamps are set to a fixed date, and the ZIP container is
written again with fixed times, so that the same source gives the same bytes under the same library versions.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

from docx import Document
from docx.shared import Pt as DocxPt
from docx.shared import RGBColor as DocxColor
from openpyxl import Workbook
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet
from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.util import Cm, Pt

from samples.markup import Block, Source, plain

STAMP = datetime(2026, 3, 2, 9, 0, 0)
ORGANISATION = "Tarrow Haven Port Authority"
TEAL = (0x12, 0x49, 0x5A)
INK = (0x1D, 0x2A, 0x30)


def freeze(data: bytes, target: Path) -> None:
    """Write an OOXML container with fixed member times and a fixed modification stamp."""
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as out:
        for name in source.namelist():
            content = source.read(name)
            if name == "docProps/core.xml":
                stamp = STAMP.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
                content = re.sub(rb"(<dcterms:(created|modified)[^>]*>)[^<]*", rb"\g<1>" + stamp, content)
            member = zipfile.ZipInfo(name, STAMP.timetuple()[:6])
            out.writestr(member, content, zipfile.ZIP_DEFLATED, 9)


def report(source: Source, target: Path) -> None:
    """A Word document with real heading styles and tables."""
    document = Document()
    base = document.styles["Normal"]
    base.font.name, base.font.size = "Calibri", DocxPt(10.5)
    for name in ("Title", "Heading 1", "Heading 2"):
        document.styles[name].font.color.rgb = DocxColor(*TEAL)
    meta = source.meta
    document.add_heading(meta["title"], level=0)
    document.add_paragraph(f"{ORGANISATION}. {meta['reference']}. {meta['owner']}. {meta['date']}.")
    for block in source.blocks:
        _report_block(document, block)
    _stamp(document.core_properties, meta["title"], meta["owner"])
    buffer = io.BytesIO()
    document.save(buffer)
    freeze(buffer.getvalue(), target)


def _report_block(document: Any, block: Block) -> None:
    if block.kind == "heading":
        document.add_heading(block.text, level=block.level)
    elif block.kind == "table":
        drawn = document.add_table(len(block.rows), len(block.rows[0]), style="Light Grid Accent 1")
        for i, row in enumerate(block.rows):
            for j, cell in enumerate(row):
                drawn.cell(i, j).text = plain(cell)
        document.add_paragraph()
    else:
        document.add_paragraph(plain(block.text))


def _stamp(properties: Any, title: str, author: str) -> None:
    properties.title, properties.author, properties.last_modified_by = title, author, author
    properties.created = properties.modified = STAMP


def slides(source: Source, target: Path) -> None:
    """A presentation: a title slide, then one slide for each heading, with notes where the source has them."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = Cm(33.867), Cm(19.05)
    meta = source.meta
    cover = deck.slides.add_slide(deck.slide_layouts[6])
    _band(cover, Cm(0), Cm(0), deck.slide_width, deck.slide_height)
    _text(cover, meta["title"], (2.4, 6.2, 29, 2.4), 40, (255, 255, 255), bold=True)
    _text(cover, meta["subtitle"], (2.4, 8.9, 29, 1.4), 20, (255, 255, 255))
    _text(cover, f"{meta['owner']} · {ORGANISATION}", (2.4, 15.9, 29, 1.2), 14, (255, 255, 255))
    current: Any = None
    for block in source.blocks:
        if block.kind == "heading":
            current = deck.slides.add_slide(deck.slide_layouts[5])
            _band(current, Cm(0), Cm(0), Cm(0.6), deck.slide_height)
            _title(current, block.text)
            lines: Any = None
        elif block.kind == "note":
            current.notes_slide.notes_text_frame.text = block.text
        elif block.kind == "table":
            _slide_table(current, block)
        else:
            lines = lines or current.shapes.add_textbox(Cm(2.4), Cm(4.6), Cm(29), Cm(12)).text_frame
            _bullet(lines, block.text)
    _stamp(deck.core_properties, meta["title"], meta["owner"])
    buffer = io.BytesIO()
    deck.save(buffer)
    freeze(buffer.getvalue(), target)


def _band(slide: Any, left: int, top: int, width: int, height: int) -> None:
    shape = slide.shapes.add_shape(1, left, top, width, height)
    shape.fill.solid()
    shape.fill.fore_color.rgb = RGBColor(*TEAL)
    shape.line.fill.background()


def _text(
    slide: Any, text: str, box: tuple[float, ...], size: int, color: tuple[int, int, int], *, bold: bool = False
) -> None:
    frame = slide.shapes.add_textbox(*(Cm(v) for v in box)).text_frame
    frame.word_wrap = True
    _run(frame.paragraphs[0], text, size, color, bold=bold)


def _run(paragraph: Any, text: str, size: int, color: tuple[int, int, int], *, bold: bool = False) -> None:
    run = paragraph.add_run()
    run.text = text
    run.font.size, run.font.bold, run.font.name, run.font.color.rgb = Pt(size), bold, "Calibri", RGBColor(*color)


def _title(slide: Any, text: str) -> None:
    title = slide.shapes.title
    title.left, title.top, title.width, title.height = Cm(2.4), Cm(1.5), Cm(29), Cm(2.2)
    paragraph = title.text_frame.paragraphs[0]
    paragraph.alignment = 1
    _run(paragraph, text, 30, TEAL, bold=True)


def _bullet(frame: Any, text: str) -> None:
    frame.word_wrap = True
    first = frame.paragraphs[0]
    paragraph = first if not first.runs else frame.add_paragraph()
    paragraph.space_after = Pt(14)
    _run(paragraph, f"• {text}", 20, INK)


def _slide_table(slide: Any, block: Block) -> None:
    rows = block.rows
    drawn = slide.shapes.add_table(len(rows), len(rows[0]), Cm(2.4), Cm(4.8), Cm(29), Cm(1.5 * len(rows))).table
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            cell = drawn.cell(i, j)
            cell.fill.solid()
            cell.fill.fore_color.rgb = RGBColor(*TEAL) if i == 0 else RGBColor(0xEE, 0xF3, 0xF4)
            _run(cell.text_frame.paragraphs[0], text, 18, (255, 255, 255) if i == 0 else INK, bold=i == 0)


def workbook(operating: Path, capital: Path, target: Path) -> None:
    """A workbook with two sheets. Totals are written as values, so that a reader without a formula engine sees them."""
    book = Workbook()
    first = book.active
    first.title = "Operating budget"
    _operating(first, _rows(operating))
    _capital(book.create_sheet("Capital programme"), _rows(capital))
    book.properties.title, book.properties.creator = "Budget 2026/27", "Priya Raman, Director of Finance"
    book.properties.created = STAMP
    buffer = io.BytesIO()
    book.save(buffer)
    freeze(buffer.getvalue(), target)


def _rows(path: Path) -> list[list[Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [[int(c) if c.isdigit() else c for c in row] for row in csv.reader(file)]


def _operating(sheet: Worksheet, rows: list[list[Any]]) -> None:
    header, *lines = rows
    sheet.append([f"{ORGANISATION}: operating budget 2026/27, in thousand pounds"])
    sheet.append([*header[:4], "Change", header[4]])
    totals: dict[str, tuple[int, int]] = {}
    for section in ("Income", "Expenditure"):
        part = [r for r in lines if r[0] == section]
        for row in part:
            sheet.append([*row[:4], row[3] - row[2], row[4]])
        before, after = sum(r[2] for r in part), sum(r[3] for r in part)
        totals[section] = (before, after)
        sheet.append([section, f"Total {section.lower()}", before, after, after - before, ""])
    surplus = [totals["Income"][i] - totals["Expenditure"][i] for i in (0, 1)]
    sheet.append(["", "Surplus before depreciation and interest", *surplus, surplus[1] - surplus[0], ""])
    _dress(sheet, [16, 40, 18, 18, 12, 46])


def _capital(sheet: Worksheet, rows: list[list[Any]]) -> None:
    header, *lines = rows
    sheet.append([f"{ORGANISATION}: capital programme 2026/27, in thousand pounds"])
    sheet.append(header)
    for row in lines:
        sheet.append(row)
    sheet.append(["Total", "", "", *(sum(r[i] for r in lines) for i in (3, 4, 5)), ""])
    _dress(sheet, [46, 14, 26, 16, 22, 16, 18])


def _dress(sheet: Worksheet, widths: list[int]) -> None:
    sheet["A1"].font = Font(bold=True, size=14, color="12495A")
    for cell in sheet[2]:
        cell.font, cell.fill = Font(bold=True, color="FFFFFF"), PatternFill("solid", fgColor="12495A")
        cell.alignment = Alignment(wrap_text=True, vertical="top")
    for row in sheet.iter_rows(min_row=3):
        total = any(str(c.value).startswith(("Total", "Surplus")) for c in row[:2])
        for cell in row:
            cell.font = Font(bold=total)
            if isinstance(cell.value, int):
                cell.number_format = "#,##0"
    for letter, width in zip("ABCDEFG", widths, strict=False):
        sheet.column_dimensions[letter].width = width
    sheet.freeze_panes = "A3"
