"""Draw the sample PDFs: a policy, a contract, a German leaflet and a letter that is then scanned.

Only the fourteen standard PDF fonts are used, so the files are small and the same on every machine. `invariant=1` fixes
reportlab's dates and file id, which makes the output byte-stable for one version of reportlab.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reportlab.lib.colors import Color, HexColor, white
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    HRFlowable,
    KeepTogether,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from samples.markup import Block, Source, rich

INK, TEAL, GREY, RULE, TINT = (HexColor(c) for c in ("#1d2a30", "#12495a", "#5c6c73", "#c3cfd3", "#eef3f4"))
WIDTH, HEIGHT = A4
LEFT = RIGHT = 25 * mm
TEXT_WIDTH = WIDTH - LEFT - RIGHT
ORGANISATION = "Tarrow Haven Port Authority"


def style(name: str, font: str, size: float, leading: float, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(name, fontName=font, fontSize=size, leading=leading, textColor=more.pop("color", INK), **more)


SANS = {
    "body": style("body", "Helvetica", 10.2, 15.4, spaceAfter=6),
    "h1": style("h1", "Helvetica-Bold", 14, 18, spaceBefore=17, spaceAfter=6, color=TEAL, keepWithNext=1),
    "h2": style("h2", "Helvetica-Bold", 10.8, 15, spaceBefore=8, spaceAfter=3, keepWithNext=1),
    "bullet": style("bullet", "Helvetica", 10.2, 15.4, leftIndent=12, spaceAfter=3),
    "cell": style("cell", "Helvetica", 8.8, 12),
    "head": style("head", "Helvetica-Bold", 8.8, 12, color=white),
}
SERIF = {
    "body": style("sbody", "Times-Roman", 10.8, 15.2, spaceAfter=7),
    "h1": style("sh1", "Times-Bold", 12.2, 16, spaceBefore=13, spaceAfter=5, keepWithNext=1),
    "h2": style("sh2", "Times-Bold", 11, 15, spaceBefore=9, spaceAfter=4, keepWithNext=1),
    "bullet": style("sbullet", "Times-Roman", 10.8, 15.2, leftIndent=32, bulletIndent=18, spaceAfter=3),
    "clause": style(
        "clause",
        "Times-Roman",
        10.8,
        15.2,
        leftIndent=32,
        bulletFontName="Times-Roman",
        bulletFontSize=10.8,
        spaceAfter=6,
    ),
    "schedule": style("schedule", "Times-Bold", 14, 18, spaceAfter=8, alignment=TA_CENTER, keepWithNext=1),
    "cell": style("scell", "Times-Roman", 9.8, 12.6),
    "head": style("shead", "Times-Bold", 9.8, 12.6, color=white),
}


class NumberedCanvas(Canvas):
    """A canvas that knows the number of pages when it draws the foot of each."""

    foot: Callable[[Canvas, int, int], None] = staticmethod(lambda canvas, page, pages: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._states: list[dict[str, Any]] = []

    def showPage(self) -> None:
        self._states.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for number, state in enumerate(self._states, 1):
            self.__dict__.update(state)
            type(self).foot(self, number, len(self._states))
            super().showPage()
        super().save()


def mark(canvas: Canvas, x: float, y: float, size: float, color: Color = TEAL) -> None:
    """Draw the Authority's mark: a disc with three waves."""
    canvas.saveState()
    canvas.setFillColor(color)
    canvas.circle(x + size / 2, y + size / 2, size / 2, stroke=0, fill=1)
    canvas.setStrokeColor(white)
    canvas.setLineWidth(size / 16)
    canvas.setLineCap(1)
    for row in (0.32, 0.5, 0.68):
        path = canvas.beginPath()
        path.moveTo(x + size * 0.22, y + size * row)
        for left in (0.22, 0.5):
            points = ((left + 0.14, row + 0.14), (left + 0.16, row - 0.02), (left + 0.28, row))
            path.curveTo(*(v for px, py in points for v in (x + size * px, y + size * py)))
        canvas.drawPath(path, stroke=1, fill=0)
    canvas.restoreState()


def build(
    target: Path,
    story: list[Flowable],
    foot: Callable[[Canvas, int, int], None],
    *,
    title: str,
    author: str,
    language: str = "en-GB",
    top: float = 27 * mm,
) -> None:
    """Lay the story out on A4 and write it."""
    canvas_class = type("Pages", (NumberedCanvas,), {"foot": staticmethod(foot)})
    frame = Frame(LEFT, 24 * mm, TEXT_WIDTH, HEIGHT - 24 * mm - top, 0, 0, 0, 0)
    doc = BaseDocTemplate(str(target), pagesize=A4, title=title, author=author, lang=language, invariant=1)
    doc.addPageTemplates(PageTemplate("page", [frame]))
    doc.build(story, canvasmaker=canvas_class)


def table(rows: tuple[tuple[str, ...], ...], styles: dict[str, ParagraphStyle]) -> Table:
    """A table with a dark head that is repeated on the next page; columns by the length of what they hold."""
    body = [[Paragraph(rich(c), styles["head" if i == 0 else "cell"]) for c in row] for i, row in enumerate(rows)]
    drawn = Table(body, _columns(rows, styles), repeatRows=1, spaceBefore=4, spaceAfter=10)
    drawn.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, 0), TEAL),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, TINT]),
                ("LINEBELOW", (0, 1), (-1, -1), 0.4, RULE),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 5),
                ("RIGHTPADDING", (0, 0), (-1, -1), 5),
                ("TOPPADDING", (0, 0), (-1, -1), 3.2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 4.2),
            ]
        )
    )
    return drawn


def _columns(rows: tuple[tuple[str, ...], ...], styles: dict[str, ParagraphStyle]) -> list[float]:
    """Column widths: room for the longest word of each, the rest by the length of what they hold."""
    font, size = styles["head"].fontName, styles["head"].fontSize
    needed = [max(stringWidth(w, font, size) for r in rows for w in r[i].split()) + 12 for i in range(len(rows[0]))]
    weights = [max(len(r[i]) for r in rows) ** 0.8 for i in range(len(rows[0]))]
    spare = TEXT_WIDTH - sum(needed)
    return [n + spare * w / sum(weights) for n, w in zip(needed, weights, strict=True)]


def flow(block: Block, styles: dict[str, ParagraphStyle]) -> Flowable:
    """One block as one flowable."""
    if block.kind == "heading":
        return Paragraph(rich(block.text), styles[f"h{block.level}"])
    if block.kind == "table":
        return table(block.rows, styles)
    if block.kind == "bullet":
        return Paragraph(rich(block.text), styles["bullet"], bulletText="•")
    if block.kind == "clause":
        return Paragraph(rich(block.text), styles["clause"], bulletText=block.label)
    return Paragraph(rich(block.text), styles["body"])


def policy(source: Source, target: Path) -> None:
    """A policy in sans serif: title block, sections, tables, a foot with reference and class."""
    meta = source.meta
    facts = [["Reference", meta["reference"]], ["Version", meta["version"]], ["Owner", meta["owner"]]]
    facts.append(["Status", meta["date"]])
    cell, label = SANS["cell"], style("label", "Helvetica-Bold", 8.4, 11.2, color=TEAL)
    block = Table([[Paragraph(a, label), Paragraph(b, cell)] for a, b in facts], [28 * mm, TEXT_WIDTH - 28 * mm])
    block.setStyle(
        TableStyle(
            [
                ("LINEABOVE", (0, 0), (-1, 0), 0.8, TEAL),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 3),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
            ]
        )
    )
    title = Paragraph(meta["title"], style("title", "Helvetica-Bold", 23, 28, color=TEAL, spaceAfter=12))
    story: list[Flowable] = [
        Spacer(1, 8 * mm),
        title,
        block,
        Spacer(1, 4 * mm),
        *(flow(b, SANS) for b in source.blocks),
    ]

    def foot(canvas: Canvas, page: int, pages: int) -> None:
        mark(canvas, LEFT, HEIGHT - 20 * mm, 7.5 * mm)
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica-Bold", 8.6)
        canvas.drawString(LEFT + 11 * mm, HEIGHT - 17.3 * mm, ORGANISATION)
        canvas.setFont("Helvetica", 7.8)
        canvas.setFillColor(GREY)
        canvas.drawRightString(WIDTH - RIGHT, HEIGHT - 17.3 * mm, f"{meta['reference']}  ·  {meta['version']}")
        canvas.setStrokeColor(RULE)
        canvas.line(LEFT, 17 * mm, WIDTH - RIGHT, 17 * mm)
        canvas.drawString(LEFT, 12.5 * mm, f"Class: {meta['classification']}")
        canvas.drawRightString(WIDTH - RIGHT, 12.5 * mm, f"Page {page} of {pages}")

    build(target, story, foot, title=meta["title"], author=ORGANISATION)


def contract(source: Source, target: Path) -> None:
    """A contract in serif: cover page, numbered clauses with hanging numbers, signatures, schedules."""
    meta = source.meta
    centre = {"alignment": TA_CENTER}
    story: list[Flowable] = [
        Spacer(1, 52 * mm),
        Paragraph(meta["date"], style("c1", "Times-Italic", 12, 16, **centre, spaceAfter=34)),
        Paragraph(meta["title"], style("c2", "Times-Bold", 26, 32, **centre, spaceAfter=34)),
        HRFlowable("32%", 0.8, color=INK, spaceAfter=34),
        Paragraph(meta["party_a"], style("c3", "Times-Bold", 14, 18, **centre, spaceAfter=10)),
        Paragraph("and", style("c4", "Times-Italic", 12, 16, **centre, spaceAfter=10)),
        Paragraph(meta["party_b"], style("c5", "Times-Bold", 14, 18, **centre, spaceAfter=34)),
        Paragraph(f"Contract reference {meta['reference']}", style("c6", "Times-Roman", 11, 15, **centre)),
        PageBreak(),
    ]
    for block in source.blocks:
        story.extend(_contract_block(block, meta))

    def foot(canvas: Canvas, page: int, pages: int) -> None:
        if page == 1:
            return
        canvas.setFont("Times-Italic", 9)
        canvas.setFillColor(GREY)
        canvas.drawString(LEFT, HEIGHT - 16 * mm, meta["title"])
        canvas.drawRightString(WIDTH - RIGHT, HEIGHT - 16 * mm, meta["reference"])
        canvas.setStrokeColor(RULE)
        canvas.line(LEFT, HEIGHT - 18.5 * mm, WIDTH - RIGHT, HEIGHT - 18.5 * mm)
        canvas.setFont("Times-Roman", 9)
        canvas.drawCentredString(WIDTH / 2, 13 * mm, f"Page {page} of {pages}")

    build(target, story, foot, title=meta["title"], author=ORGANISATION)


def _contract_block(block: Block, meta: dict[str, str]) -> list[Flowable]:
    if block.kind != "directive":
        return [flow(block, SERIF)]
    if block.label == "schedule":
        return [
            PageBreak() if "Schedule 1" in block.text else Spacer(1, 8 * mm),
            Paragraph(block.text, SERIF["schedule"]),
        ]
    if block.label == "signatures":
        return [_signatures(meta)]
    return []


def _signatures(meta: dict[str, str]) -> Flowable:
    people = (("party_a", "Dr Maren Okafor, Chief Executive"), ("party_b", "Rosalind Brennick, Managing Director"))
    cells = []
    for party, person in people:
        text = f"Signed for and on behalf of<br/><b>{meta[party]}</b><br/><br/><br/>{'.' * 48}<br/>{person}"
        cells.append(Paragraph(text, SERIF["body"]))
    return KeepTogether(
        [Spacer(1, 8 * mm), Table([cells], [TEXT_WIDTH / 2] * 2, style=[("LEFTPADDING", (0, 0), (-1, -1), 0)])]
    )


def leaflet(source: Source, target: Path) -> None:
    """A German leaflet: a coloured band on the first page, then sections."""
    meta = source.meta
    line = f"{meta['owner']}  ·  {meta['reference']}  ·  {meta['version']}"
    band = Table(
        [
            [Paragraph(meta["title"], style("g1", "Helvetica-Bold", 19, 23, color=white))],
            [Paragraph(line, style("g2", "Helvetica", 8.6, 12, color=white))],
        ],
        [TEXT_WIDTH],
    )
    band.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), TEAL),
                ("LEFTPADDING", (0, 0), (-1, -1), 12),
                ("TOPPADDING", (0, 0), (-1, 0), 12),
                ("BOTTOMPADDING", (0, 1), (-1, 1), 12),
            ]
        )
    )
    story: list[Flowable] = [band, Spacer(1, 6 * mm), *(flow(b, SANS) for b in source.blocks)]

    def foot(canvas: Canvas, page: int, pages: int) -> None:
        canvas.setFillColor(GREY)
        canvas.setFont("Helvetica", 7.8)
        canvas.drawString(LEFT, 12.5 * mm, f"{meta['reference']}, {meta['version']}")
        canvas.drawRightString(WIDTH - RIGHT, 12.5 * mm, f"Seite {page} von {pages}")

    build(target, story, foot, title=meta["title"], author=meta["owner"], language="de-DE", top=20 * mm)


def letter(source: Source) -> bytes:
    """The letter as a clean PDF in memory; `samples.scan` turns it into a scanned page."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    mark(canvas, LEFT, HEIGHT - 36 * mm, 15 * mm, INK)
    canvas.setFillColor(INK)
    canvas.setFont("Times-Bold", 17)
    canvas.drawString(LEFT + 21 * mm, HEIGHT - 27 * mm, ORGANISATION)
    canvas.setFont("Times-Italic", 10.5)
    canvas.drawString(
        LEFT + 21 * mm, HEIGHT - 33 * mm, "The Harbour Master  ·  Custom House, 2 Lighterage Row, Tarrow Haven"
    )
    canvas.line(LEFT, HEIGHT - 40 * mm, WIDTH - RIGHT, HEIGHT - 40 * mm)
    y = HEIGHT - 52 * mm
    text = style("letter", "Times-Roman", 12, 16.5)
    for number, block in enumerate(source.blocks):
        if block.label == "signature":
            y = _signature(canvas, block.text, y)
            continue
        paragraph = Paragraph(rich(block.text).replace("|", "<br/>"), text)
        _, height = paragraph.wrap(TEXT_WIDTH, HEIGHT)
        paragraph.drawOn(canvas, LEFT, y - height)
        y -= height + (16 if number == 0 else 10)
    canvas.save()
    return buffer.getvalue()


def _signature(canvas: Canvas, text: str, y: float) -> float:
    """A written name as a few curves, then the printed one."""
    drawn, *printed = text.split("|")
    canvas.setLineWidth(1.3)
    path = canvas.beginPath()
    x, base = LEFT + 4, y - 26
    path.moveTo(x + 12, base + 18)
    path.curveTo(x - 10, base + 24, x - 4, base - 2, x + 10, base + 8)
    path.curveTo(x - 8, base + 2, x - 4, base - 14, x + 16, base - 6)
    for step in range(len(drawn)):
        left = x + 16 + step * 7.5
        tall = 20 if step % 5 == 1 else 7
        path.curveTo(left + 1, base + tall, left + 4, base + tall, left + 3.5, base - 3)
        path.curveTo(left + 4, base - 7, left + 6, base - 4, left + 7.5, base + 1)
    path.curveTo(x + 140, base + 14, x + 90, base - 16, x + 20, base - 14)
    canvas.drawPath(path, stroke=1, fill=0)
    canvas.setFont("Times-Roman", 12)
    y -= 58
    for line in printed:
        canvas.drawString(LEFT, y, line)
        y -= 16
    return y
