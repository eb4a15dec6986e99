"""Plots as inline SVG: no library, no script, no address that a browser would follow. All text is escaped.

Also the style and the policy of the pages that hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

WIDTH, HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 40
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root{--ink:#1c2430;--soft:#5d6877;--line:#d9dee5;--back:#fff;--band:#f5f7f9;--a:#1f6f8b;--b:#c4552d;--c:#6b7f2a;--d:#7a4f9a}
@media(prefers-color-scheme:dark){:root{--ink:#e7ebf0;--soft:#9aa6b5;--line:#36404d;--back:#161b22;--band:#1e252e;
--a:#5db3d0;--b:#ec8a63;--c:#a9bf5e;--d:#b58fd6}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);
max-width:1020px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p,.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}tbody tr:nth-child(odd){background:var(--band)}
.plots{margin-top:2rem;display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:1.5rem}
figure{margin:0}figcaption{font-weight:600}svg{width:100%;height:auto}
.grid{stroke:var(--line)}.guide{stroke:var(--soft);stroke-dasharray:4 4;fill:none}.line{fill:none;stroke-width:2}
text{fill:var(--soft);font-size:11px;text-anchor:middle}text.ytick{text-anchor:end}
.line.s0{stroke:var(--a)}.line.s1{stroke:var(--b)}.line.s2{stroke:var(--c)}.line.s3{stroke:var(--d)}
.dot.s0,.bar.s0{fill:var(--a)}.dot.s1,.bar.s1{fill:var(--b)}
.dot.s2,.bar.s2{fill:var(--c)}.dot.s3,.bar.s3{fill:var(--d)}
.key::before{content:"";display:inline-block;width:.8em;height:.8em;margin:0 .4em 0 0}
.key{margin-right:1.2em;font-size:.85rem}
.key.s0::before{background:var(--a)}.key.s1::before{background:var(--b)}.key.s2::before{background:var(--c)}
.key.s3::before{background:var(--d)}
.case{border-left:3px solid var(--line);padding:.2rem 0 .2rem 1rem;margin:1rem 0}.case q{font-style:italic}
.better{color:var(--c);font-weight:600}.worse{color:var(--b);font-weight:600}
"""


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


def bars(
    title: str,
    groups: Sequence[tuple[str, Sequence[float]]],
    names: Sequence[str],
    *,
    x_label: str,
    y_label: str = "questions",
) -> str:
    """Grouped bars of counts: for each group its label and a value by name."""
    top = 4 * ceil(max([1.0, *(v for _, values in groups for v in values)]) / 4)  # four steps of whole numbers
    body = _frame(x_label, y_label, x_top=None, y_top=top)
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


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _frame(x_label: str, y_label: str, *, x_top: float | None, y_top: float) -> str:
    out = ""
    for step in range(5):
        share = step / 4
        out += f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{_y(share):.1f}" y2="{_y(share):.1f}"/>'
        out += f'<text class="ytick" x="{_LEFT - 6}" y="{_y(share) + 4:.1f}">{_tick(share * y_top)}</text>'
        if x_top is not None:
            out += f'<text class="tick" x="{_x(share):.1f}" y="{HEIGHT - 26}">{_tick(share * x_top)}</text>'
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
