"""Make the sample documents that are not plain text, from samples/source into samples/documents.

Run `python -m samples.make_samples` in the root of the repository. The mail, the web page, the runbook, the direction
and the register are plain text: they are written by hand in samples/documents and this script leaves them alone. It
needs the `dev` extra (reportlab) and nothing from the network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from samples import office, pdf, scan
from samples.markup import Source, read_source

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "source"
DOCUMENTS = HERE / "documents"


def make(target: Path) -> list[Path]:
    """Write every made document into the folder `target` and return their paths."""
    target.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []

    def out(name: str) -> Path:
        made.append(target / name)
        return made[-1]

    def source(name: str) -> Source:
        return read_source(SOURCE / f"{name}.md")

    pdf.policy(source("information-handling-policy"), out("information-handling-policy.pdf"))
    pdf.contract(source("crane-maintenance-agreement"), out("crane-maintenance-agreement.pdf"))
    pdf.leaflet(source("gefahrgut-merkblatt"), out("gefahrgut-merkblatt.pdf"))
    note = source("dredging-letter")
    scan.scan(pdf.letter(note), out("dredging-letter-scan.pdf"), title=note.meta["title"])
    office.report(source("safety-report-2025"), out("safety-report-2025.docx"))
    office.slides(source("shore-power-briefing"), out("shore-power-briefing.pptx"))
    office.workbook(SOURCE / "budget-operating.csv", SOURCE / "budget-capital.csv", out("budget-2026.xlsx"))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the sample documents.")
    parser.add_argument(
        "--output", type=Path, default=DOCUMENTS, help="folder to write to (default: samples/documents)"
    )
    for path in make(parser.parse_args().output):
        print(f"{path.name}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
