"""The catalogue's list of folders that the server keeps in step."""

from __future__ import annotations

import uuid
from dataclasses import replace

from sqlalchemy import delete, insert, select

from strongroom.catalog.base import CatalogBase
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import watches
from strongroom.crypto import CATALOGUE_KEY
from strongroom.errors import NotFoundError
from strongroom.types import Watch


class WatchingMixin(CatalogBase):
    """Methods of `Catalog` for `strongroom.app.watching`."""

    def add_watch(self, watch: Watch) -> Watch:
        """Store a watch and return it with its id."""
        watch_id = str(uuid.uuid4())
        body = {
            "paths": watch.paths,
            "collection": watch.collection,
            "groups": watch.groups,
            "prune": watch.prune,
            "poll": watch.poll,
            "by": watch.by,
        }
        with self.store.write() as conn:
            sealed = self.vault.seal_json(CATALOGUE_KEY, body, f"watches.body:{watch_id}")
            conn.execute(insert(watches).values(id=watch_id, body=sealed, created_at=utc_now()))
        return replace(watch, id=watch_id)

    def watches(self) -> list[Watch]:
        """Every watch, oldest first."""
        with self.store.read() as conn:
            rows = conn.execute(select(watches).order_by(watches.c.created_at, watches.c.id)).all()
        found = []
        for row in rows:
            body = self.vault.open_json(row.body, f"watches.body:{row.id}")
            paths, groups = tuple(body.pop("paths")), tuple(body.pop("groups"))
            found.append(Watch(id=row.id, paths=paths, groups=groups, **body))
        return found

    def remove_watch(self, watch_id: str) -> None:
        """Forget a watch. Raises `NotFoundError`."""
        with self.store.write() as conn:
            if not conn.execute(delete(watches).where(watches.c.id == watch_id)).rowcount:
                raise NotFoundError(f"watch {watch_id} does not exist", hint="`strongroom watch list` shows them.")
