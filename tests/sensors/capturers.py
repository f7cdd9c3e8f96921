"""Processes that capture until they are killed. Forked from a server that has everything imported."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import dagster as dg

import run_evidence.sensors.capture.capture
import run_evidence.sensors.sync
from run_evidence.ledger import Ledger
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.cursor_sensor import SensorCursor, tick
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.capture.policy import Policy
from run_evidence.sensors.sync import sync_runs

Role = Callable[[dg.DagsterInstance, str], NoReturn]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["capturers", "dagster._core.storage.sqlite_storage", "deltalake", "duckdb"])


class Nursery:
    """A process that keeps one child capturing: when it is killed, the next one is there in milliseconds.

    It has opened the instance and used neither the ledger nor anything that starts threads, so it can fork.
    """

    def __init__(self, role: Role, home: Path, ledger: Path) -> None:
        self._ours, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_nurse, args=(role, str(home), str(ledger), theirs))
        self._process.start()
        self._child = int(self._ours.recv())

    def kill(self) -> int:
        """Kill the child as nothing can prevent; returns the signal it died of, 0 when it had ended before."""
        os.kill(self._child, signal.SIGKILL)
        died_of = int(self._ours.recv())
        self._child = int(self._ours.recv())
        return died_of

    def close(self) -> None:
        """End the nursery and its child."""
        self._process.kill()
        self._process.join(10)
        os.kill(self._child, signal.SIGKILL)


def _nurse(role: Role, home: str, ledger: str, tell: Connection) -> None:
    with dg.DagsterInstance.from_config(home) as instance:
        while True:
            child = os.fork()
            if not child:
                role(instance, ledger)
            tell.send(child)
            tell.send(os.WTERMSIG(os.waitpid(child, 0)[1]))


def syncing(instance: dg.DagsterInstance, ledger: str) -> NoReturn:
    """Sync everything, again and again, in small pages that are sealed often."""
    run_evidence.sensors.sync.PAGE_RUNS, run_evidence.sensors.sync.SEAL_EVENTS = 10, 200  # type: ignore[misc]
    while True:
        sync_runs(instance, CaptureContext(Ledger(ledger), grace_seconds=0))


def nudged(instance: dg.DagsterInstance, ledger: str) -> NoReturn:
    """Capture one run after the other, in any order, and seal now and then."""
    random.seed(os.getpid())
    run_ids = [run.run_id for run in instance.get_runs()]
    while True:
        capture_run(instance, random.choice(run_ids), CaptureContext(Ledger(ledger), grace_seconds=0))  # noqa: S311
        if random.random() < 0.1:  # noqa: S311
            Ledger(ledger).seal()


def ticking(instance: dg.DagsterInstance, ledger: str) -> NoReturn:
    """Tick as the cursor sensor does, with little time for each tick and small appends."""
    run_evidence.sensors.capture.capture.FLUSH_EVENTS = 40  # type: ignore[misc]
    cursor = SensorCursor()
    attachment = Attachment(Ledger(ledger), Policy(), grace_seconds=0)
    while True:
        _, cursor = tick(instance, attachment, cursor, seconds=0.2)
