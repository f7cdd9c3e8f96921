"""What an asset's card says beyond its definition, kept in the definition's own metadata."""

from __future__ import annotations

from typing import Literal

FailureMode = Literal["retry", "replay", "backfill", "hold"]


def card(failure_mode: FailureMode, evidence: str) -> dict[str, str]:
    """Return definition metadata: what to do when the asset fails, and where its evidence lies."""
    return {"failure_mode": failure_mode, "evidence": evidence}
