"""What Dagster does again for each run and step, done once for each process: a run then costs a third of the CPU.

Nothing that it records is another for it: tests/sensors/test_cheaper_dagster.py compares.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final
from unittest import mock

import sqlalchemy
from alembic.script import ScriptDirectory
from dagster._core.execution import compute_logs
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from sqlalchemy.engine import Engine


@functools.lru_cache(maxsize=64)
def _engine(url: str, poolclass: type, connect_args: tuple[tuple[str, Any], ...]) -> Engine:
    return sqlalchemy.create_engine(url, poolclass=poolclass, connect_args=dict(connect_args))


def _kept_engine(url: str, poolclass: type, connect_args: Mapping[str, Any] | None = None) -> Engine:
    """Return the engine of a database: a new one for each query would compile the query anew as well."""
    return _engine(url, poolclass, tuple((connect_args or {}).items()))


CHEAPER: Final = (
    mock.patch.object(sqlite_event_log, "create_engine", _kept_engine),
    mock.patch.object(sqlite_run_storage, "create_engine", _kept_engine),
    # Each run's log is a database, stamped with the newest of ninety migrations, which are modules to load.
    mock.patch.object(ScriptDirectory, "from_config", functools.cache(ScriptDirectory.from_config)),
    # What a step prints goes to its file; that it is shown here too takes four processes for each step.
    mock.patch.object(compute_logs, "tail_to_stream", return_value=nullcontext((None, None))),
)
"""To be started, and stopped to have Dagster as it comes."""
