"""Deletion from every store: rows and key first, then all that follows, and a signed receipt of it.

A deletion is on record as soon as its key is gone. What comes after may fail, and is then finished at the next start.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from strongroom.audit import receipt as receipts
from strongroom.crypto import SigningKey
from strongroom.errors import HeldError, NotFoundError

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance
    from strongroom.types import DeletionReceipt

_REWRITE_PATIENCE_S = 20.0  # for the index; what takes longer is named in the receipt


def delete(appliance: Appliance, document_id: str, *, by: str) -> DeletionReceipt:
    """Delete a document everywhere. Raises `NotFoundError`, and `HeldError` under a legal hold."""
    receipt = _delete(appliance, document_id, by=by)
    beyond = settle(appliance)
    return receipts.sign(replace(receipt, out_of_reach=(*receipt.out_of_reach, *beyond)), SigningKey(appliance.keys))


def delete_collection(appliance: Appliance, name: str, *, by: str) -> list[str]:
    """Delete a collection with all its documents; returns their ids.

    Raises `HeldError` before anything is deleted when a legal hold covers one of them.
    """
    catalog = appliance.catalog
    place = catalog.collection(name)
    ids = [document_id for document_id, _ in catalog.sources(place.id)]
    catalog.refuse_held([place.id, *ids])
    for document_id in ids:
        with suppress(NotFoundError):  # it lay inside one that went before it
            _delete(appliance, document_id, by=by, reason="collection")
    settle(appliance)
    catalog.delete_collection(place.id)
    appliance.audit.append(by, "delete.collection", place.id, documents=len(ids))
    return ids


def apply_retention(appliance: Appliance, *, by: str, dry_run: bool = False) -> tuple[list[str], list[str]]:
    """Delete what outlived its collection's rule; returns ids that were (or would be) deleted, and held ones."""
    deleted, held = [], []
    for document_id in appliance.catalog.outlived():
        try:
            if dry_run:
                appliance.catalog.refuse_held([document_id])
            else:
                _delete(appliance, document_id, by=by, reason="retention")
            deleted.append(document_id)
        except HeldError:
            held.append(document_id)
        except NotFoundError:
            continue  # it lay inside one that went before it
    settle(appliance)
    return deleted, held


def settle(appliance: Appliance) -> tuple[str, ...]:
    """Do all that follows from deletions on record and sign their receipts; returns what could not be reached yet.

    Points and originals are removed, all other keys wrapped anew (so that an older copy of the key store opens with
    nothing that is left), the write-ahead log and freed pages of the catalogue emptied, the index rewritten.
    """
    from ingest.finish import remove_versions
    from strongroom.app import learning

    unsettled = appliance.catalog.unsettled_deletions()
    if not unsettled:
        return ()
    beyond = []
    learning.tidy(appliance)
    remove_versions(appliance.catalog, appliance.raw_index, appliance.blobs)
    if appliance.keys.in_file:
        appliance.keys.rotate()
    else:
        beyond.append("older copies of the key store, until `strongroom keys rotate` replaces the appliance key")
    appliance.store.scrub()
    if not appliance.raw_index.compact(patience=_REWRITE_PATIENCE_S):
        beyond.append("files of the vector index, until they are rewritten")
    signing = SigningKey(appliance.keys)
    signed = (receipts.sign(replace(r, out_of_reach=(*r.out_of_reach, *beyond)), signing) for r in unsettled)
    appliance.catalog.keep_receipts({one.document_id: receipts.dumps(one) for one in signed})
    return tuple(beyond)


def _delete(appliance: Appliance, document_id: str, *, by: str, **why: str) -> DeletionReceipt:
    receipt = appliance.catalog.delete_document(document_id, by=by)
    appliance.audit.append(by, "delete", document_id, outcome="ok", **receipt.destroyed, **why)
    for each in (document_id, *receipt.members):
        appliance.forget_images(each)
    return receipt
