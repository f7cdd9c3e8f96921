"""Input that is refused, with what a machine needs to know about it: stable codes and the figures behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from run_evidence.ledger import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Detail = str | Sequence[object] | Mapping[str, object]


class RefusedInputError(InputError):
    """Input that must not be ingested. `details`, kept beside the codes, holds texts, lists and objects of JSON."""

    def __init__(
        self,
        text: str,
        *,
        next_step: str,
        reason_codes: Sequence[str],
        details: Mapping[str, Detail] | None = None,
    ) -> None:
        super().__init__(text, next_step=next_step)
        self.reason_codes = tuple(reason_codes)
        self.details = dict(details or {})
