"""XML as text: the character data of each element, one a line, without entity expansion or external references."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import ParseError as XmlError

from ingest.encoding import decode
from ingest.parse.letters import normalised
from ingest.parse.text import line_pages
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import ParsedDocument


def parse_xml(path: Path) -> ParsedDocument:
    """Parse an XML file. Raises `QuarantineError` when it declares entities, `ParseError` when it is malformed."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    text, _ = decode(path.read_bytes())
    try:
        # Decoded already: a declared encoding would contradict the string.
        body = text.partition("?>")[2] if text.lstrip().startswith("<?xml") else text
        root = fromstring(body, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as exc:
        raise QuarantineError("XML that declares entities, as bombs do", hint="remove its DOCTYPE entities") from exc
    except (XmlError, ValueError) as exc:
        raise ParseError(f"malformed XML: {exc}", hint="check the file with an XML editor") from exc
    lines: list[str] = []
    for element in root.iter():
        name = str(element.tag).rpartition("}")[2]
        content = " ".join((element.text or "").split())
        attributes = [f"{key.rpartition('}')[2]}: {value}" for key, value in element.attrib.items() if value.strip()]
        if content:
            lines.append(f"{name}: {content}")
        lines.extend(attributes)
        if tail := " ".join((element.tail or "").split()):
            lines.append(tail)
    result = normalised("\n".join(lines) + "\n") if lines else ""
    return ParsedDocument(text=result, pages=line_pages(result), mime="application/xml")
