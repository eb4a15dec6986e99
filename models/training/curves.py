"""The learning curves of a run as one SVG: loss of each head over the steps, written by hand, no plotting library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 360, 50, 40
COLOURS = {"span": "#1b6ca8", "answerable": "#c8553d", "relevant": "#3a7d44", "supported": "#7a5195"}


def draw(log: Path, out: Path) -> None:
    """Read the run's `log.jsonl` and write the plot. Stages follow each other along the axis."""
    points: dict[str, list[tuple[int, float]]] = {}
    borders: list[tuple[int, str]] = []
    offset = last = 0
    stage = ""
    for line in log.read_text(encoding="utf-8").splitlines():
        facts: dict[str, Any] = json.loads(line)
        if facts["stage"] != stage:
            offset, stage = last, facts["stage"]
            borders.append((offset, stage))
        last = offset + facts["step"]
        for name in COLOURS:
            if name in facts:
                points.setdefault(name, []).append((last, float(facts[name])))
    out.write_text(_svg(points, borders, max(1, last)), encoding="utf-8")


def _svg(points: dict[str, list[tuple[int, float]]], borders: list[tuple[int, str]], steps: int) -> str:
    top = max((value for line in points.values() for _, value in line), default=1.0)

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + step / steps * (WIDTH - LEFT - 110)
        return round(x, 1), round(HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - 20), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for part in range(5):
        x, y = place(0, top * part / 4)
        end = place(steps, 0)[0]
        parts.append(f'<path d="M{x} {y}H{end}" stroke="#ddd"/><text x="8" y="{y + 4}">{top * part / 4:.2f}</text>')
    for step, stage in borders:
        x, _ = place(step, 0)
        parts.append(f'<path d="M{x} 20V{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="4 3"/>')
        parts.append(f'<text x="{x + 4}" y="16">{stage} stage</text>')
    for number, (name, line) in enumerate(sorted(points.items())):
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.6"/>')
        y = 40 + number * 18
        parts.append(f'<text x="{WIDTH - 100}" y="{y}" fill="{COLOURS[name]}">{name}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 12}">loss by step, {steps} steps</text></svg>')
    return "\n".join(parts) + "\n"
