"""Which release a process runs: said by the environment, else by the git commit it was started in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import lru_cache

from run_evidence.ledger import is_identifier
from run_evidence.sensors.dagster_log.translate import Correlation


def process_correlation(release_id: str | None = None, environment: Mapping[str, str] | None = None) -> Correlation:
    """Return the ids that hold for every run of this process that carries no tags of its own.

    `TRACE_ID`; the release given, else `RELEASE_ID`, else `GIT_SHA`, else the commit of the working
    directory; `BATCH_ID`. A variable that is empty, or says None or null, is not set.
    """
    given = os.environ if environment is None else environment
    values = {name: value for name, value in given.items() if is_identifier(value)}
    return Correlation(
        trace_id=values.get("TRACE_ID"),
        release_id=release_id or values.get("RELEASE_ID") or values.get("GIT_SHA") or _git_commit(),
        batch_id=values.get("BATCH_ID"),
    )


@lru_cache(maxsize=1)
def _git_commit() -> str | None:
    """Ask git once for each process; no git, no repository or no commit is no release."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None if asked.returncode == 0 else None
