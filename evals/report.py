"""A run, or two side by side, as one HTML page: tables, plots, and the questions that went worst.

Self-contained and inert: no script, nothing fetched (a policy in the page says so to the browser too). Words of
documents, questions and models are escaped, every one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from evals import plots
from evals.figures import RISK
from evals.runs import Row, Run, errors
from evals.scoring import DEPTHS, LEVELS, METRICS

NAME = "report.html"
WORST = 15


def page(run: Run, figures: Mapping[str, Any]) -> str:
    """The report of one run."""
    about = run.about
    lead = (
        f"{figures['measured']} of {figures['questions']} questions measured, {figures['answerable']} of them "
        f"answerable. Intervals are 95 %, drawn by document."
    )
    parts = [
        f"<h1>Evaluation: {escape(str(about['set']))}</h1><p>{escape(lead)}</p>",
        _failed(errors(run.rows)),
        _means("Figures", figures["metrics"]),
        f'<div class="plots">{_plots(figures)}</div>',
        _promise(figures["abstention"]),
        _costs(figures),
        *(_means(f"Questions of kind “{kind}”", means) for kind, means in figures["by_kind"].items()),
        _worst(run.rows),
        _about(about),
    ]
    return document(f"Evaluation: {about['set']}", parts)


def comparison(figures: Mapping[str, Any]) -> str:
    """The report of two runs."""
    rows = [
        (
            METRICS[name].label,
            _share(entry["first"]),
            _share(entry["second"]),
            _moved(entry),
            _interval(entry["low"], entry["high"], sign=True),
            _p(entry["p"]),
            _p(entry["p_holm"]),
            _p(entry["mcnemar"]),
            f"{entry['wins']} / {entry['losses']}",
        )
        for name, entry in figures["metrics"].items()
    ]
    changed = [(key, *map(str, both)) for key, both in figures["changed"].items()]
    lead = f"{figures['questions']} questions that both runs have. p by flipping whole documents at random."
    code = "" if figures["same_code"] else "<p>The two runs were made by different versions of the code.</p>"
    head = ("", "first", "second", "difference", "95 %", "p", "p (Holm)", "McNemar", "better / worse")
    return document(
        "Comparison",
        [
            f"<h1>Two configurations compared</h1><p>{escape(lead)}</p>{code}",
            f"<p>first: {escape(figures['first'])}<br>second: {escape(figures['second'])}</p>",
            table(head, rows, raw={3}),
            "<h2>What differs in the settings</h2>",
            table(("setting", "first", "second"), changed) if changed else "<p>Nothing.</p>",
        ],
    )


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page around finished parts."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{plots.POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{plots.STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, raw: frozenset[int] | set[int] = frozenset()) -> str:
    """A table; cells are escaped but for the columns in `raw`, which hold markup made here."""
    tops = "".join(f"<th{'' if i == 0 else ' class=n'}>{escape(cell)}</th>" for i, cell in enumerate(head))
    body = ""
    for row in rows:
        cells = (cell if i in raw else escape(cell) for i, cell in enumerate(row))
        body += (
            "<tr>" + "".join(f"<td{'' if i == 0 else ' class=n'}>{cell}</td>" for i, cell in enumerate(cells)) + "</tr>"
        )
    return f"<table><thead><tr>{tops}</tr></thead><tbody>{body}</tbody></table>"


# ------------------------------------------------------------------------------------------------ parts


def _means(title: str, means: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{escape(METRICS[name].label)}<br><span class="soft">{escape(METRICS[name].meaning)}</span></td>'
        f'<td class="n">{_share(entry["mean"])}</td><td class="n">{_interval(entry["low"], entry["high"])}</td>'
        f'<td class="n">{entry["n"]}</td><td class="n">{entry["clusters"]}</td></tr>'
        for name, entry in means.items()
    )
    tops = "".join(f'<th class="n">{name}</th>' for name in ("mean", "95 %", "questions", "documents"))
    head = f"<tr><th></th>{tops}</tr>"
    return f"<h2>{escape(title)}</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _plots(figures: Mapping[str, Any]) -> str:
    means, abstention = figures["metrics"], figures["abstention"]
    depths = [
        plots.Line(level, [(float(d), means[f"{level}_hit@{d}"]["mean"]) for d in DEPTHS])
        for level in LEVELS
        if f"{level}_hit@{DEPTHS[0]}" in means
    ]
    out = (
        plots.lines("Found by depth", depths, x_label="hits looked at", y_label="share of questions") if depths else ""
    )
    if abstention is not None:
        curve = plots.Line("confidence", [(c, r) for c, r, _ in abstention["risk_coverage"]], stepped=True)
        out += plots.lines(
            "Risk and coverage", [curve], x_label="share of questions answered", y_label="share wrong", guide=RISK
        )
        groups = [(f"{b['from']:.1f}", (b["answerable"], b["unanswerable"])) for b in abstention["reliability"]]
        out += plots.bars("Confidence", groups, ("answerable", "unanswerable"), x_label="confidence from")
    return out


def _promise(abstention: Mapping[str, Any] | None) -> str:
    if abstention is None:
        return ""
    promise = abstention["guarantee"]
    if promise["answered"]:
        said = (
            f"{promise['coverage']:.1%} of the questions can be answered with at most {promise['risk']:.0%} wrong "
            f"(thresholds chosen on one half of the documents at 95 % confidence and judged on the other): "
            f"{promise['wrong']} of {promise['answered']} were wrong there, {promise['error']:.1%} "
            f"{_interval(promise['low'], promise['high'])}."
        )
    else:
        said = (
            f"No threshold keeps the error at or below {promise['risk']:.0%} with 95 % confidence on these questions."
        )
    rows = [
        (label, _number(entry["value"]) or "needs questions of both kinds", _interval(entry["low"], entry["high"]))
        for label, entry in (
            ("AUROC: answerable or not", abstention["auroc_answerable"]),
            ("AUROC: right or wrong", abstention["auroc_right"]),
        )
    ]
    rows.append(("area under the risk curve", _number(abstention["area_under_risk"]), ""))
    return f"<h2>When not to answer</h2><p>{escape(said)}</p>{table(('', 'value', '95 %'), rows)}"


def _costs(figures: Mapping[str, Any]) -> str:
    rows = [
        (f"{name.replace('_', ' ')}, ms", *(f"{entry[q]:,.1f}" for q in ("p50", "p95", "p99")))
        for name, entry in figures["latency_ms"].items()
    ]
    out = f"<h2>Time</h2>{table(('', 'p50', 'p95', 'p99'), rows)}"
    if figures["tokens"] is not None:
        tokens = [(side, f"{t['mean']:,.1f}", f"{t['total']:,}") for side, t in figures["tokens"].items()]
        out += f"<h2>Tokens</h2>{table(('', 'mean', 'total'), tokens)}"
    return out


def _failed(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    cases = "".join(f"<li>{escape(row['question'])}: {escape(row['error'])}</li>" for row in rows[:WORST])
    return f"<h2>{len(rows)} questions failed</h2><p>They count nowhere below.</p><ul>{cases}</ul>"


def worst(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The questions to look at first, by what went wrong, the surest mistakes first."""
    told = [row for row in rows if "confidence" in row]
    surest = sorted(told, key=lambda row: -row["confidence"])
    missed = [
        row
        for row in rows
        if "error" not in row
        and any(row["values"].get(f"{level}_hit@{DEPTHS[-1]}") == 0.0 for level in LEVELS[:1] + LEVELS[2:])
    ]
    return {
        "Answered though there is no answer": [r for r in surest if r["unanswerable"] and not r["abstained"]],
        "Wrong words quoted": [r for r in surest if not r["unanswerable"] and r["wrong"] and not r["abstained"]],
        "Turned down though the quotes hold the answer": [
            r for r in reversed(surest) if not r["unanswerable"] and not r["wrong"] and r["abstained"]
        ],
        "Not among the hits": missed,
    }


def _worst(rows: Sequence[Row]) -> str:
    out = ""
    for title, cases in worst(rows).items():
        if cases:
            shown = "".join(map(_case, cases[:WORST]))
            out += f"<h2>{escape(title)}: {len(cases)}</h2>{shown}"
    return out


def _case(row: Row) -> str:
    lines = [f"<b>{escape(row['question'])}</b>"]
    gold = "; ".join(row["gold"]) or ("no answer" if row["unanswerable"] else "")
    place = "; ".join(row["gold_place"])
    lines.append(f"right: {escape(gold)} <span class='soft'>{escape(place)}</span>")
    if "confidence" in row:
        lines.append(f"confidence {row['confidence']:.2f}; {escape(row['answer'][:300])}")
    lines += [
        f"<q>{escape(q['quote'])}</q> <span class='soft'>{escape(q['place'])}</span>" for q in row.get("quotes", [])
    ]
    if not row.get("quotes"):
        lines.append(f"<span class='soft'>found: {escape('; '.join(row['hits']))}</span>")
    return f'<div class="case">{"<br>".join(lines)}</div>'


def _about(about: Mapping[str, Any]) -> str:
    rows = [(key, str(value)) for key, value in about.items() if key != "settings"]
    rows += [(f"setting {key}", str(value)) for key, value in about["settings"].items()]
    return f"<h2>What was measured</h2>{table(('', 'value'), rows)}"


# ------------------------------------------------------------------------------------------------ cells


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    if low is None or high is None:
        return ""
    return f"{low:+.3f} to {high:+.3f}" if sign else f"{low:.3f} to {high:.3f}"


def _moved(entry: Mapping[str, Any]) -> str:
    """The difference, marked where it is beyond chance after correction."""
    text = f"{entry['difference']:+.3f}"
    if entry["p_holm"] >= 0.05:
        return text
    better = (entry["difference"] > 0) != entry["lower_is_better"]
    return f'<span class="{"better" if better else "worse"}">{text}</span>'
