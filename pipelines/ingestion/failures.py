"""Expected errors as Dagster failures: the sentence, the next step, and reason codes in the metadata."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.ingestion.refusals import RefusedInputError
from run_evidence.ledger import EnvironmentFault, LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error raised on purpose into a `dg.Failure` that explains it; anything else passes through.

    Only a fault of the environment is worth a retry: bad input stays bad.
    """
    try:
        yield
    except LedgerError as error:
        next_step = f"\nNext step: {error.next_step}" if error.next_step else ""
        raise dg.Failure(
            description=f"{error}{next_step}",
            metadata=_metadata(error),
            allow_retries=isinstance(error, EnvironmentFault),
        ) from error


def _metadata(error: LedgerError) -> dict[str, Any]:
    if isinstance(error, RefusedInputError):
        details = {
            name: value if isinstance(value, str) else dg.MetadataValue.json(value)
            for name, value in error.details.items()
        }
        return {"reason_codes": dg.MetadataValue.json(list(error.reason_codes)), **details}
    code = "environment_fault" if isinstance(error, EnvironmentFault) else "input_invalid"
    return {"reason_codes": dg.MetadataValue.json([code])}
