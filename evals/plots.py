"""Plots as inline SVG: no library, no script, no address that a browser would follow. All text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 40


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; `stepped` draws what holds until the next point as a stair."""

    name: str
    points: Sequence[tuple[float, float]]
    stepped: bool = False


def lines(title: str, series: Sequence[Line], *, x_label: str, y_label: str, guide: float | None = None) -> str:
    """A line plot over x and y from 0 to 1, or to the largest value. `guide` draws a level to compare with."""
    every = [point for line in series for point in line.points]
    x_top, y_top = max([1.0, *(x for x, _ in every)]), max([1.0, *(y for _, y in every)])

    def at(x: float, y: float) -> str:
        return f"{_x(x / x_top):.1f},{_y(y / y_top):.1f}"

    body = _frame(x_label, y_label, x_top=x_top, y_top=y_top)
    if guide is not None:
        body += f'<polyline class="guide" points="{at(0, guide)} {at(x_top, guide)}"/>'
    for number, line in enumerate(series):
        points = [at(x, y) for x, y in line.points]
        if line.stepped:
            pairs = zip(line.points, line.points[1:], strict=False)
            points = [at(*line.points[0])] + [p for (_, y), (x, z) in pairs for p in (at(x, y), at(x, z))]
        body += f'<polyline class="line s{number % 4}" points="{" ".join(points)}"/>'
        if not line.stepped:
            body += "".join(
                f'<circle class="dot s{number % 4}" cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3"/>'
                for p in points
            )
    return _figure(title, body, [line.name for line in series])


def bars(title: str, groups: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], *, x_label: str) -> str:
    """Grouped bars: for each group its label and a value by name."""
    top = max([1.0, *(v for _, values in groups for v in values)])
    body = _frame(x_label, "questions", x_top=None, y_top=top)
    slot = (WIDTH - _LEFT - _RIGHT) / max(1, len(groups))
    for place, (label, values) in enumerate(groups):
        width = slot * 0.8 / max(1, len(values))
        for number, value in enumerate(values):
            x, y = _LEFT + place * slot + slot * 0.1 + number * width, _y(value / top)
            body += (
                f'<rect class="bar s{number % 4}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                f'height="{HEIGHT - _BOTTOM - y:.1f}"><title>{escape(label)}: {value:g}</title></rect>'
            )
        body += f'<text class="tick" x="{_LEFT + (place + 0.5) * slot:.1f}" y="{HEIGHT - 26}">{escape(label)}</text>'
    return _figure(title, body, names)


def _x(share: float) -> float:
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _frame(x_label: str, y_label: str, *, x_top: float | None, y_top: float) -> str:
    out = ""
    for step in range(5):
        share = step / 4
        out += f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{_y(share):.1f}" y2="{_y(share):.1f}"/>'
        out += f'<text class="ytick" x="{_LEFT - 6}" y="{_y(share) + 4:.1f}">{share * y_top:.3g}</text>'
        if x_top is not None:
            out += f'<text class="tick" x="{_x(share):.1f}" y="{HEIGHT - 26}">{share * x_top:.3g}</text>'
    out += f'<text class="axis" x="{_x(0.5):.1f}" y="{HEIGHT - 6}">{escape(x_label)}</text>'
    middle = _y(0.5)
    return (
        out
        + f'<text class="axis" transform="rotate(-90 12 {middle:.0f})" x="12" y="{middle:.0f}">{escape(y_label)}</text>'
    )


def _figure(title: str, body: str, names: Sequence[str]) -> str:
    keys = "".join(f'<span class="key s{n % 4}">{escape(name)}</span>' for n, name in enumerate(names))
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">{body}</svg>'
        f'<div class="keys">{keys}</div></figure>'
    )
