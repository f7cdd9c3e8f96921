"""What goes wrong in capture never reaches the user's run; it goes to one log file the user is pointed to."""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.ledger import CAPTURE_LOG, rfc3339

if TYPE_CHECKING:
    from dagster import DagsterInstance

_MAX_BYTES: Final = 5_000_000
_logger = logging.getLogger("ledger.capture")


def report_trouble(instance: DagsterInstance | None, where: str, run_id: str, problem: str) -> None:
    """Note one failed capture, in the log file and once through `logging`; never raises.

    Nothing is lost by it: the records are still in Dagster, and the next capture takes them. Where the file cannot
    be written, the warning says so instead of naming it.
    """
    stamp = rfc3339(datetime.now(tz=UTC), "seconds")
    line = f"{stamp} {where} run={run_id or '-'} {' '.join(problem.split())}\n"
    see = "next: ledger sync"
    try:
        if instance is not None:
            path = Path(instance.root_directory) / CAPTURE_LOG
            _append(path, line)
            see = f"see {path}"
    except Exception as error:  # noqa: BLE001 - a full disk, or an instance without a folder, must fail no run
        see = f"next: ledger sync; {CAPTURE_LOG} could not be written: {error!r}"
    with contextlib.suppress(Exception):  # neither must a handler of the user's
        _logger.warning("run evidence not captured yet (%s): %s; %s", where, problem, see)


def _append(path: Path, line: str) -> None:
    if path.exists() and path.stat().st_size > _MAX_BYTES:
        path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        os.write(descriptor, line.encode("utf-8", "replace"))
    finally:
        os.close(descriptor)
