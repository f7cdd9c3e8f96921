"""What may be missing: the optional dependencies a deployment declares, with a reason that cannot be left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from run_evidence.ledger import Event, OwnEvent, UsageError

_CODE = re.compile(r"[a-z][a-z0-9_]{2,79}")


def require_reason_code(reason_code: str) -> str:
    """Return the code when it is one: lower case words joined by underscores. Raises `UsageError`."""
    if not _CODE.fullmatch(reason_code or ""):
        raise UsageError(
            f"{reason_code!r} is not a reason code; a skip needs one, such as 'lakehouse_not_available'.",
            next_step="use 3 to 80 lower-case letters, digits and underscores, starting with a letter",
        )
    return reason_code


@dataclass(frozen=True, slots=True)
class OptionalDependency:
    """An asset that a run may do without. When it is not there, a skip with this reason is recorded."""

    asset_key: str
    reason_code: str
    reason: str

    def __post_init__(self) -> None:
        require_reason_code(self.reason_code)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a deployment declares about its runs."""

    optional: tuple[OptionalDependency, ...] = ()


def policy_event(policy: Policy, declared_at: int) -> Event:
    """Return the event that makes a policy known to everyone who captures (microseconds since 1970)."""
    return Event(
        event_type="policy.declared.v1",
        occurred_at=declared_at,
        run_id="",
        data={
            "optional": [
                {"asset_key": o.asset_key, "reason_code": o.reason_code, "reason": o.reason}
                for o in policy.optional
            ]
        },
    )


def declaration(policy: Policy, own: Iterable[OwnEvent], declared_at: int) -> list[Event]:
    """Return the event that declares the policy, none where it is the one declared last (or no word is needed)."""
    declared = latest_policy(own)
    needed = declared != policy and bool(declared or policy.optional)
    return [policy_event(policy, declared_at)] if needed else []


def latest_policy(own: Iterable[OwnEvent]) -> Policy | None:
    """Return the policy declared last among the ledger's runless events, `None` when there was none."""
    declared: Sequence[OwnEvent] = [event for event in own if event.event_type == "policy.declared.v1"]
    if not declared:
        return None
    optional = declared[-1].data["optional"]
    entries = optional if isinstance(optional, list) else []
    return Policy(tuple(OptionalDependency(**entry) for entry in entries if isinstance(entry, dict)))  # type: ignore[arg-type]
