"""Look for personal data in documents that are stored already, from the catalogue's text.

The search reads hostile text with regular expressions, so it runs in a child process without network, with limits on
memory and time; a document on which it fails stays one that was not looked into, and that the report names.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from strongroom.app.render import confine, end_pool
from strongroom.errors import NotFoundError
from strongroom.types import PersonalData, PersonalSpan

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance

SECONDS = 120.0


def scan(appliance: Appliance, on_document: Callable[[int, int], None]) -> tuple[int, list[str]]:
    """Look into every version that these rules have not seen; returns how many, and ids of those that failed.

    `on_document` gets how many are done and how many there are. May be stopped and run again.
    """
    from ingest.privacy import DETECTOR

    todo = appliance.catalog.not_looked_into(DETECTOR)
    failed: list[str] = []
    pool: ProcessPoolExecutor | None = None
    try:
        for done, version_id in enumerate(todo, start=1):
            try:
                text = appliance.catalog.text_of(version_id)
                if pool is None:
                    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=confine)
                spans = pool.submit(_find, text).result(timeout=SECONDS)
                appliance.catalog.note_personal(version_id, PersonalData(DETECTOR, spans))
            except NotFoundError:
                continue  # deleted meanwhile
            except (BrokenProcessPool, TimeoutError, MemoryError, RecursionError, ValueError, LookupError):
                failed.append(version_id)
                if pool is not None:
                    end_pool(pool)
                    pool = None
            finally:
                on_document(done, len(todo))
    finally:
        if pool is not None:
            end_pool(pool)
    return len(todo) - len(failed), failed


def _find(text: str) -> tuple[PersonalSpan, ...]:
    from ingest.privacy import find

    return find(text)
