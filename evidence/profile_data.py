"""A delivery profile as data: what the ledger records of it, and how it is read back.

Whoever has the ledger has its profiles with it and needs no code of the project. What is read may have been written
by anybody, so nothing of it is imported or run: every member is held against its kind, and a record that has
another member, or another digest than it states, is no profile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import msgspec

from run_evidence.evidence.profile import DeliveryProfile
from run_evidence.ledger import Event, InputError, Json, LedgerError, OwnEvent, canonical

DECLARED: Final = "delivery.declared.v1"
"""The event that declares a profile: from then on it holds for runs that begin."""

_NEXT: Final = "name the profile with --profile MODULE:ATTRIBUTE, or read the ledger with the program that wrote it"


def profile_data(profile: DeliveryProfile) -> dict[str, Json]:
    """Return every member of a profile as JSON values."""
    return cast("dict[str, Json]", msgspec.to_builtins(profile))


def profile_digest(profile: DeliveryProfile) -> str:
    """Return the SHA-256 of a profile's canonical JSON, hex: equal profiles have one, wherever they come from."""
    return _digest(profile_data(profile))


def _digest(data: Mapping[str, Json]) -> str:
    return hashlib.sha256(canonical(dict(data))).hexdigest()


def declaration(profiles: Iterable[DeliveryProfile], own: Iterable[OwnEvent], declared_at: int) -> list[Event]:
    """Return the events that declare the profiles which are not, by their name, the one declared last.

    `own` are the ledger's runless events in their order, `declared_at` is in microseconds since 1970.
    """
    last = {event.data.get("name"): event.data.get("sha256") for event in own if event.event_type == DECLARED}
    return [
        _event(profile, declared_at) for profile in profiles if last.get(profile.name) != profile_digest(profile)
    ]


def _event(profile: DeliveryProfile, declared_at: int) -> Event:
    data: dict[str, Json] = {
        "name": profile.name,
        "sha256": profile_digest(profile),
        "profile": profile_data(profile),
    }
    return Event(event_type=DECLARED, occurred_at=declared_at, run_id="", data=data)


def read_declared(data: Mapping[str, Any]) -> DeliveryProfile:
    """Read what a declaration says. Raises: InputError when it is not one that this program understands."""
    said = data.get("profile")
    if not isinstance(said, dict):
        raise InputError("The declaration has no profile.", next_step=_NEXT)
    if _digest(said) != data.get("sha256") or said.get("name") != data.get("name"):
        raise InputError("The declared profile is not the one whose digest it states.", next_step=_NEXT)
    try:
        profile = msgspec.convert(said, DeliveryProfile)
    except (LedgerError, ValueError) as error:
        raise InputError(f"The declared profile is none: {error}", next_step=_NEXT) from None
    if unknown := sorted(_members(said) - _members(profile_data(profile))):
        what = ", ".join(f"{name!r:.50}" for name in unknown)
        raise InputError(f"The declared profile has {what}, which this program does not know.", next_step=_NEXT)
    return profile


def _members(data: Mapping[str, Any]) -> set[str]:
    """Return the names of a profile's members and, behind a dot, of its fields'."""
    return data.keys() | {f"fields.{name}" for field in data.get("fields", ()) for name in field}
