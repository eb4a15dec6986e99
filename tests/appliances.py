"""Appliances for tests that are not about parsing: all of it real but the models, and files parsed in this process.

Starting the confined parser processes takes longer than most of these tests. Must not be used to test what is read,
limits or confinement; members of containers are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.chunk import Chunker
from ingest.parse import parse_file
from strongroom.app.appliance import Appliance
from strongroom.config import load
from strongroom.types import Chunk, OcrMode, ParsedDocument
from tests.fakes import FakeModels
from tests.ingest_bench import ThreadPool


def open_appliance(data_dir: Path, **settings: Any) -> Appliance:
    """The appliance over `data_dir`, made when it is not there yet."""
    appliance = Appliance(load({"data_dir": data_dir, **settings}).settings, purpose="test", models=FakeModels())
    chunker = Chunker(
        appliance.models.tokenizer(),
        max_tokens=appliance.settings.chunk_tokens,
        overlap_tokens=appliance.settings.chunk_overlap_tokens,
    )

    def pool(_workers: int | None, ocr: OcrMode | None) -> ThreadPool:
        def parse(path: Path, mime: str) -> tuple[ParsedDocument, list[Chunk]]:
            document = parse_file(path, mime, ocr=ocr or appliance.settings.ocr)
            return document, chunker.chunk(document)

        threads = ThreadPool(1)  # PDFium is not made for more
        threads.parse = parse
        return threads

    appliance._parser_pool = pool  # type: ignore[method-assign,assignment]
    return appliance
