"""What the commands of ingest share: the one place that reads the environment for them, and exit codes.

0 fine · 1 a verdict is not met: a source was refused · 2 wrong usage or bad input · 4 the environment.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from run_evidence.ledger import EnvironmentFault, LedgerError
from run_evidence.ledger.terminal import fail, out, out_json, say, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.ingestion.result import IngestResult

_STYLES = {"success": "green", "skip": "yellow", "fail": "red"}


def run(command: Callable[[Sequence[str], Mapping[str, str]], int]) -> NoReturn:
    """Run a command with this process's arguments and environment, and end with its exit code."""
    try:
        code = command(sys.argv[1:], os.environ)
    except LedgerError as error:
        code = fail(error)
    except OSError as error:
        fault = f"{error.filename or 'the file system'}: {error.strerror or error}"
        code = fail(EnvironmentFault(fault, next_step="check the path and its permissions"))
    sys.exit(code)


def shown_count(count: int | None) -> str:
    """Write a count; what is not known is no zero."""
    return "?" if count is None else str(count)


def print_sources(result: IngestResult, *, as_json: bool) -> int:
    """Print what became of each source and the counts; return 1 when any was refused, else 0."""
    if as_json:
        out_json(result.to_document())
        return 1 if result.fail_count else 0
    rows = [
        [found.manifest, found.source_id or "", found.judgement, found.outcome, ", ".join(found.reason_codes)]
        for found in result.outcomes
    ]
    styles = [_STYLES[found.outcome] for found in result.outcomes]
    out(*table(["manifest", "source", "judgement", "outcome", "reasons"], rows, styles))
    out("", f"success {result.success_count} / skip {result.skip_count} / fail {result.fail_count}")
    for found in result.outcomes:
        if found.outcome == "fail":
            say(f"refused: {found.source_id or found.manifest}: {'; '.join(found.reasons)}")
    return 1 if result.fail_count else 0
