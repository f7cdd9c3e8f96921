"""Batches of tickets, ingested in processes that are killed at random moments.

Run as a program: `python mortal_ingest.py FOLDER KILLS SEED`, with DATABASE_URL in the environment. FOLDER holds a
file for each batch, `batch-NNN.jsonl`. Every batch but the first is killed once and then ingested whole. A line of
JSON for each says whether the process was killed before it ended, and what it left of the batch.

The modules are loaded once, those of the first ingest too: what is killed is a fork that has not opened a
database yet, so a kill costs an ingest and no start of Python, and its moment is one of the ingest's.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from pipelines.ingestion.settings import warehouse_of
from pipelines.ingestion.ticket_ingest import main

OF_BATCH = """
SELECT count(*), count(*) FILTER (WHERE f.ticket_id IS NULL)
FROM raw_ticket_event AS e LEFT JOIN ticket_fact AS f ON f.ticket_id = e.ticket_id WHERE e.ingest_batch_id = $1
"""


def in_a_fork(work: Callable[[], Any]) -> tuple[int, int]:
    """Do the work in a fork that prints what comes back; return its id and where to read."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 70
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            os.write(writing, json.dumps(work()).encode())
        code = 0
    finally:
        os._exit(code)


def ended(child: int, reading: int) -> Any:
    """Wait for a fork that is not killed and return what came back."""
    with os.fdopen(reading, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the fork ended with {status}"
    return json.loads(answer)


def ingest(path: Path) -> int:
    return main(["--input", str(path), "--batch-id", path.stem], os.environ)


def warm_up(path: Path) -> None:
    """Ingest in a fork, and load here what that loaded: pandas for the most part, by DuckDB."""
    for name in ended(*in_a_fork(lambda: ingest(path) == 0 and sorted(sys.modules))):
        with suppress(ImportError):
            importlib.import_module(name)


def left(batch_id: str) -> list[int]:
    """Return events and events without a fact of a batch."""
    with warehouse_of(os.environ).database.reading() as run:
        return list(run(OF_BATCH, [batch_id])[0])


def killed(path: Path, after_seconds: float) -> bool:
    """Ingest in a fork and kill it then; return whether it was still at work."""
    child, reading = in_a_fork(lambda: ingest(path))
    time.sleep(after_seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reading)
    return os.WIFSIGNALED(status)


def run(folder: Path, kills: int, chance: random.Random) -> None:
    paths = sorted(folder.glob("batch-*.jsonl"))
    warm_up(paths[0])
    took_seconds = 0.0
    for number, path in enumerate(paths):
        at_work, found = None, None
        if 0 < number <= kills:
            at_work = killed(path, chance.uniform(0, took_seconds))
            found = ended(*in_a_fork(lambda path=path: left(path.stem)))  # type: ignore[misc]
        started = time.monotonic()
        assert ended(*in_a_fork(lambda path=path: ingest(path))) == 0  # type: ignore[misc]
        took_seconds = time.monotonic() - started
        print(json.dumps({"batch": path.stem, "at_work": at_work, "left": found}), flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3])))  # noqa: S311 - which moment, no secret
