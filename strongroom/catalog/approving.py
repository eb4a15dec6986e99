"""What people said of answers. Sealed under the key of the document it quotes, and deleted with it.

Whoever may no longer read a document no longer sees what was said about it.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import delete, insert, select

from strongroom.access import AccessFilter
from strongroom.catalog.base import CatalogBase
from strongroom.catalog.personal import OPEN
from strongroom.catalog.reading import ReadingMixin
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import approvals, documents
from strongroom.errors import NotFoundError, UsageError
from strongroom.types import Approval, ApprovalRequest, DocumentRef

LONGEST = 4_000  # characters of a question, and of the words that answer it


class ApprovingMixin(ReadingMixin, CatalogBase):
    """Methods of `Catalog` for judging answers."""

    def approve(self, request: ApprovalRequest, access: AccessFilter, *, by: str) -> Approval:
        """Keep a judgement. The words are taken from the document's page, not from the caller.

        Raises `NotFoundError` for a document or page that cannot be read, `UsageError` for a place outside the page.
        """
        question = " ".join(request.question.split())
        if not 0 < len(question) <= LONGEST:
            raise UsageError("the question is empty or too long", hint=f"At most {LONGEST:,} characters.")
        page = self.page(request.document_id, request.page_index, access)
        if not (page.start <= request.start < request.end <= page.end and request.end - request.start <= LONGEST):
            raise UsageError(
                f"[{request.start}, {request.end}) does not lie on page {request.page_index + 1} of {page.document.id}",
                hint="Give document offsets within one page, as the answer's `exact` spans hold them.",
            )
        text = page.text[request.start - page.start : request.end - page.start]
        approval_id, now = str(uuid.uuid4()), utc_now()
        with self.store.write() as conn:
            key_id = conn.execute(select(documents.c.key_id).where(documents.c.id == page.document.id)).scalar()
            if key_id is None:
                raise NotFoundError(f"document {page.document.id} does not exist", hint="It was deleted just now.")
            conn.execute(
                insert(approvals).values(
                    id=approval_id,
                    document_id=page.document.id,
                    verdict=request.verdict,
                    question=self.vault.seal_text(key_id, question, f"approvals.question:{approval_id}"),
                    text=self.vault.seal_text(key_id, text, f"approvals.text:{approval_id}"),
                    page=page.number,
                    by=by,
                    at=now,
                )
            )
        at = datetime.fromisoformat(now)
        return Approval(approval_id, request.verdict, question, text, page.document, page.number, by, at)

    def approvals(self, access: AccessFilter) -> list[Approval]:
        """What was said about documents that `access` may read, oldest first."""
        readable = {d.id: d for d in self.documents(access)}
        with self.store.read() as conn:
            rows = conn.execute(select(approvals).order_by(approvals.c.at, approvals.c.id)).all()
        found = []
        for row in rows:
            document = readable.get(row.document_id)
            if document is not None:
                veil = self.veil(document.id, access) if access.withheld else OPEN
                found.append(
                    Approval(
                        row.id,
                        row.verdict,
                        veil.words(self.vault.open_text(row.question, f"approvals.question:{row.id}")),
                        veil.words(self.vault.open_text(row.text, f"approvals.text:{row.id}")),
                        DocumentRef(document.id, document.name, document.path),
                        row.page,
                        row.by,
                        datetime.fromisoformat(row.at),
                    )
                )
        return found

    def withdraw(self, approval_id: str, access: AccessFilter) -> None:
        """Delete a judgement about a readable document. Raises `NotFoundError`."""
        if approval_id not in {a.id for a in self.approvals(access)}:
            raise NotFoundError(
                f"approval {approval_id} does not exist", hint="`strongroom approvals list` lists them."
            )
        with self.store.write() as conn:
            conn.execute(delete(approvals).where(approvals.c.id == approval_id))
