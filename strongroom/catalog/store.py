"""Open the catalogue's database: pragmas, transactions, migrations.

SQLite runs in WAL mode with `secure_delete` and full synchronisation. Writes go through `Store.write`, which takes one
lock for the process and `BEGIN IMMEDIATE` for other processes, so a transaction never fails half way for a lock.
A schema newer than this code is refused; an older one is copied first and then migrated.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError

from strongroom.errors import IntegrityError

HEAD = "0010"
_MIGRATIONS = Path(__file__).with_name("migrations")


def utc_now() -> str:
    """Now in UTC as ISO 8601 with microseconds: the one format of every timestamp column."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Store:
    """One database and its transactions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        fresh = not path.exists()
        if fresh:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
        self.engine: Engine = create_engine(
            f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": 30}
        )
        event.listen(self.engine, "connect", _on_connect)
        event.listen(self.engine, "begin", _on_begin)
        self._write_lock = threading.RLock()
        try:
            self._migrate()
        except DatabaseError as exc:
            raise IntegrityError(
                f"catalogue {path.name} cannot be opened: {exc.orig}", hint="Restore the data directory from a backup."
            ) from exc

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent snapshot for reading."""
        with self.engine.connect() as conn, conn.begin():
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One serialised transaction; it commits on exit and rolls back on any exception."""
        with self._write_lock, self.engine.execution_options(begin="BEGIN IMMEDIATE").begin() as conn:
            yield conn

    def version(self) -> str | None:
        """The schema revision, or `None` for an empty database."""
        with self.read() as conn:
            known = conn.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")).first()
            row = conn.execute(text("SELECT version_num FROM alembic_version")).first() if known else None
        return None if row is None else str(row[0])

    def _migrate(self) -> None:
        found = self.version()
        if found == HEAD:
            return
        if found is not None:
            if found > HEAD:
                raise IntegrityError(
                    f"catalogue schema {found} is newer than this program ({HEAD})",
                    hint="Install the Strongroom release that wrote it.",
                )
            self._copy(self.path.with_suffix(f".before-{found}"))
        from alembic import command  # slow to import, needed only when the schema changes
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self.engine.begin() as conn:
            config.attributes["connection"] = conn
            command.upgrade(config, "head")

    def _copy(self, target: Path) -> None:
        """A whole copy of the database. Copying the file alone would miss what still stands in the WAL."""
        target.unlink(missing_ok=True)
        target.touch(mode=0o600)
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)

    def scrub(self) -> None:
        """Leave nothing deleted behind in this file: fold the WAL in and rewrite the pages."""
        with self._write_lock, self.engine.execution_options(begin=None).connect() as conn:
            for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                conn.exec_driver_sql(statement)

    def close(self) -> None:
        self.engine.dispose()


def _on_connect(dbapi_connection: object, _record: object) -> None:
    dbapi_connection.isolation_level = None  # type: ignore[attr-defined]  # transactions are ours alone
    cursor = dbapi_connection.cursor()  # type: ignore[attr-defined]
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
        "busy_timeout=30000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(conn: Connection) -> None:
    statement = conn.get_execution_options().get("begin", "BEGIN")
    if statement:
        conn.exec_driver_sql(statement)
