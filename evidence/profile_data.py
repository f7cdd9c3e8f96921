"""A delivery profile as data: what the ledger records of it, and how it is read back.

Whoever has the ledger has its profiles with it and needs no code of the project. What is read may have been written
by anybody, so nothing of it is imported or run: every member is held against its kind, and a record that has
another member, or another digest than it states, is no profile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from run_evidence.evidence.profile import DeliveryProfile, Field
from run_evidence.ledger import Event, InputError, Json, LedgerError, OwnEvent, canonical

DECLARED: Final = "delivery.declared.v1"
"""The event that declares a profile: from then on it holds for runs that begin."""

_NEXT: Final = "name the profile with --profile MODULE:ATTRIBUTE, or read the ledger with the program that wrote it"
_MAX_FIELDS: Final = 1_000


def profile_data(profile: DeliveryProfile) -> dict[str, Json]:
    """Return every member of a profile as JSON values."""
    return _data(profile)


def _data(of: DeliveryProfile | Field) -> dict[str, Json]:
    return {each.name: _plain(getattr(of, each.name)) for each in fields(of)}


def _plain(value: Any) -> Json:
    if isinstance(value, tuple):
        return [_data(each) if isinstance(each, Field) else each for each in value]
    return value  # type: ignore[no-any-return] # text or None, by the types of a profile


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
        return _profile(said)
    except (LedgerError, TypeError, ValueError) as error:
        raise InputError(f"The declared profile is none: {error}", next_step=_NEXT) from None


def _profile(said: Mapping[str, Any]) -> DeliveryProfile:
    texts = {name: value for name, value in said.items() if name not in {"fields", "optional"}}
    listed = said.get("fields", [])
    if not isinstance(listed, list) or len(listed) > _MAX_FIELDS:
        raise TypeError(f"its fields are no list of at most {_MAX_FIELDS}")
    known = {each.name: each for each in fields(DeliveryProfile)}
    for name, value in texts.items():
        if name not in known:
            raise ValueError(f"it has {name!r:.50}, which this program does not know")
        if not isinstance(value, str) and (value is not None or known[name].default is not None):
            raise TypeError(f"its {name} is no text")
    if missing := [n for n, each in known.items() if each.default is MISSING and n not in texts]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    optional = _texts("optional", said.get("optional", []))
    return DeliveryProfile(**texts, optional=optional, fields=tuple(map(_field, listed)))


def _field(said: Any) -> Field:
    if not isinstance(said, dict) or not said.keys() <= {each.name for each in fields(Field)}:
        raise TypeError("it has a field with members that this program does not know")
    texts = {name: value for name, value in said.items() if name != "sources"}
    if not all(isinstance(value, str) for value in texts.values()) or "name" not in texts:
        raise TypeError("it has a field whose members are no texts")
    return Field(**texts, sources=_texts("sources", said.get("sources", ["assets"])))


def _texts(name: str, said: Any) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
        raise TypeError(f"its {name} is no list of texts")
    return tuple(said)
