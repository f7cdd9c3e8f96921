"""What every room's tests share."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.cheaper_dagster import CHEAPER
from tests.ending import watch_this_process

# The machine is shared with other tests: how long one example takes says nothing about the rule it tries.
settings.register_profile("ledger", deadline=None)
settings.load_profile("ledger")


def pytest_configure() -> None:
    watch_this_process()
    for change in CHEAPER:
        change.start()
    os.fsync = lambda _: None  # no test cuts the power, and what is written outlives a kill without
    # A shell that starts this in the background lets it ignore Ctrl-C, and whatever it starts would too.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@event.listens_for(Engine, "connect")
def _leave_flushing_to_the_system(connection: Any, _: object) -> None:
    """Let Dagster's SQLite files outlive a kill, as ever, but no power cut: waiting for the disk was half a run."""
    if type(connection).__module__.startswith("sqlite3"):
        connection.execute("PRAGMA synchronous = OFF").close()


@pytest.fixture(autouse=True)
def _children_end_with_their_test() -> Iterator[None]:
    yield
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


@pytest.fixture(autouse=True)
def _own_memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a memory of what was verified that is its own: many ledgers here have the same name."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
