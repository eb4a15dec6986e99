"""Text that an HTML page or a Word document hides from its readers, as pieces for `hostile.located`.

HTML: the `hidden` and `aria-hidden` attributes, and style that shows nothing (also by a simple selector in a style
sheet of the page). Word: hidden text, white text without a background, text below 2 points. What a script or a linked
style sheet hides is not found.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

Piece = tuple[str, str]  # words, what hides them

_LEAST_POINTS = 2.0
_MOST_RULES = 400
_HIDING = (
    (re.compile(r"display\s*:\s*none"), "not displayed"),
    (re.compile(r"visibility\s*:\s*(?:hidden|collapse)"), "not displayed"),
    (re.compile(r"(?<![\w-])opacity\s*:\s*0(?:\.0\d*)?\s*(?:[;!]|$)"), "transparent"),
    (re.compile(r"font-size\s*:\s*(?:0(?:\.\d+)?|1)\s*(?:px|pt|em|rem|%)?\s*(?:[;!]|$)"), "smaller than 2 pt"),
    (re.compile(r"(?<![\w-])color\s*:\s*(?:transparent|rgba\([^)]*,\s*0(?:\.0\d*)?\s*\))"), "transparent"),
    (re.compile(r"(?:left|top|right|text-indent|margin-left|margin-top)\s*:\s*-\s*\d{4,}"), "outside the page"),
    (re.compile(r"clip\s*:\s*rect\(\s*0|clip-path\s*:\s*inset\(\s*(?:50|100)%"), "clipped away"),
)
_WHITE = re.compile(
    r"(?<![\w-])color\s*:\s*(?:white|#fff(?:fff)?\b|#f[c-f]f[c-f]f[c-f]\b|rgb\(\s*25\d\s*,\s*25\d\s*,\s*25\d\s*\))"
)
_BACKGROUND = re.compile(r"background(?:-color|-image)?\s*:\s*(?!\s*(?:white|#fff|transparent|none|inherit))")
_RULE = re.compile(r"([^{}]{1,300})\{([^{}]{1,2000})\}")
_SIMPLE = re.compile(r"^\s*([A-Za-z][\w-]*)?([.#][\w-]+)?\s*$")


def hidden_in_html(html: str) -> list[Piece]:
    """Pieces of text in elements that a reader does not see."""
    if not re.search(r"hidden|display|opacity|font-size|color|indent|left|top|clip|visibility", html, re.IGNORECASE):
        return []
    root = etree.fromstring(html.encode("utf-8", "replace"), etree.HTMLParser(encoding="utf-8"))
    if root is None:
        return []
    rules = _rules(" ".join("".join(style.itertext()) for style in root.iter("style")))
    return list(_hidden_elements(root, rules))


def _rules(sheet: str) -> dict[str, str]:
    """Declarations by simple selector (`p`, `.note`, `#x`, `p.note`); other selectors are passed over."""
    rules: dict[str, str] = {}
    for match in list(_RULE.finditer(re.sub(r"/\*.*?\*/", " ", sheet, flags=re.DOTALL)))[:_MOST_RULES]:
        for selector in match.group(1).split(","):
            if _SIMPLE.match(selector):
                rules[selector.strip()] = rules.get(selector.strip(), "") + ";" + match.group(2)
    return rules


def _hidden_elements(root: Any, rules: dict[str, str]) -> Iterator[Piece]:
    """Outermost hidden elements, in order. Iterative: depth is the document's to choose."""
    stack = [(root, False)]
    while stack:
        element, coloured = stack.pop()
        if not isinstance(element.tag, str) or element.tag in {"script", "style", "head", "template"}:
            continue
        style = _style_of(element, rules)
        coloured = coloured or bool(_BACKGROUND.search(style)) or element.get("bgcolor") is not None
        why = _hides(element, style)
        if why is None and _WHITE.search(style) and not coloured:
            why = "white on white"
        if why is not None:
            words = " ".join(element.itertext())
            if words.strip():
                yield words, why
            continue
        stack += [(child, coloured) for child in reversed(element)]


def _style_of(element: Any, rules: dict[str, str]) -> str:
    parts = [rules.get(element.tag, "")]
    for name in (element.get("class") or "").split():
        parts += [rules.get(f".{name}", ""), rules.get(f"{element.tag}.{name}", "")]
    if element.get("id"):
        parts += [rules.get(f"#{element.get('id')}", "")]
    if element.tag == "font" and element.get("color"):
        parts.append(f"color: {element.get('color')}")
    return ";".join([*parts, element.get("style") or ""]).casefold()


def _hides(element: Any, style: str) -> str | None:
    if element.get("hidden") is not None or (element.get("aria-hidden") or "").casefold() == "true":
        return "not displayed"
    return next((why for pattern, why in _HIDING if pattern.search(style)), None)


# ------------------------------------------------------------------------------------------------ Word

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_OFF = {"0", "false", "off", "none"}


def hidden_in_docx(path: Path) -> list[Piece]:
    """Pieces of hidden text of a Word document that was checked by `archive.check_archive`; joined run by run."""
    pieces: list[Piece] = []
    try:
        with zipfile.ZipFile(path) as archive, archive.open("word/document.xml") as part:
            for _, paragraph in etree.iterparse(part, tag=f"{_W}p", resolve_entities=False, no_network=True):
                pieces += _runs(paragraph)
    except (KeyError, OSError, zipfile.BadZipFile, etree.XMLSyntaxError):
        return pieces  # its parser says what is wrong with it
    return pieces


def _runs(paragraph: Any) -> Iterator[Piece]:
    words, last = "", None
    for run in paragraph.iter(f"{_W}r"):
        why = _run_hides(run.find(f"{_W}rPr"))
        text = "".join(t.text or "" for t in run.iter(f"{_W}t"))
        if why != last and last is not None:
            yield words, last
            words = ""
        last = why
        words = words + text if why is not None else ""
    if last is not None:
        yield words, last


def _run_hides(properties: Any) -> str | None:
    if properties is None:
        return None

    def value(name: str) -> str | None:
        found = properties.find(f"{_W}{name}")
        return None if found is None else str(found.get(f"{_W}val") or "on").casefold()

    if any((value(name) or "off") not in _OFF for name in ("vanish", "specVanish")):
        return "not displayed"
    size = value("sz")
    if size is not None and size.isdigit() and int(size) / 2 < _LEAST_POINTS:
        return "smaller than 2 pt"
    shaded = properties.find(f"{_W}shd") is not None or value("highlight") is not None
    if (value("color") or "") in {"ffffff", "fefefe", "fdfdfd", "fcfcfc"} and not shaded:
        return "white on white"
    return None
