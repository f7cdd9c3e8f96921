"""Which delivery profile holds for which run: the one that somebody names, else those that the ledger has.

A profile may be declared anew, and what was derived by the old one has to stay derivable. So it is the log that
says which holds: for a run the last declaration before the run's first entry, and for a run that the ledger had
before any declaration the first. A later declaration changes neither, however much the ledger grows. Declarations
of one name are one delivery; those of several names all hold, each for the runs that planned assets of its prefix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import orjson

from run_evidence.evidence.profile import DeliveryProfile
from run_evidence.evidence.profile_data import profile_digest, read_declared
from run_evidence.ledger import InputError, LedgerError, blob_name, open_snapshot

if TYPE_CHECKING:
    from run_evidence.evidence.facts import JudgedRun, RunRow
    from run_evidence.ledger import Ledger, Snapshot

_QUERY: Final = "declared_profiles"


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declaration: its entry (`None` while it is not sealed), and the profile, or why it cannot be read."""

    index: int | None
    profile: DeliveryProfile | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ProfileHistory:
    """One delivery, by the name of its profile: its declarations in the order of the log, at least one.

    `named` says that somebody named the profile, and it is not one that was read from a ledger.
    """

    name: str
    declarations: tuple[Declaration, ...]
    named: bool = False

    def of_run(self, row: RunRow) -> DeliveryProfile | None:
        """Return the profile that holds for a run; `None` where what was declared then cannot be read."""
        return self._before(row.first_index)[-1].profile

    def within(self, size: int) -> ProfileHistory:
        """Return what of it was declared in the first `size` entries; the first declaration where none was."""
        return ProfileHistory(self.name, self._before(size), self.named)

    def _before(self, index: int | None) -> tuple[Declaration, ...]:
        """Return the declarations before an entry, or before what is not sealed; at least the first."""
        if index is None:
            return self.declarations
        found = tuple(each for each in self.declarations if each.index is not None and each.index < index)
        return found or self.declarations[:1]

    @property
    def profiles(self) -> tuple[DeliveryProfile, ...]:
        """Every profile that was declared and can be read, each once, the one declared last at the end."""
        newest_first = dict.fromkeys(each.profile for each in reversed(self.declarations) if each.profile)
        return tuple(newest_first)[::-1]

    @property
    def latest(self) -> DeliveryProfile | None:
        """The profile declared last, of those that can be read."""
        return self.profiles[-1] if self.profiles else None

    @property
    def folder(self) -> Path:
        """Where its documents go when nobody says where, always below the current folder.

        The folder in a ledger is somebody else's word. One that is absolute, leads upward or has a part that
        begins with a dot is ignored, and so is its environment variable, which may be any: HOME is one.
        """
        profile = self.latest
        place = PurePosixPath(profile.folder if profile else "")
        parts = place.parts
        plain = not any(part.startswith(".") or "\\" in part or ":" in part for part in parts)
        return Path(*parts) if parts and plain and not place.is_absolute() else Path("reports", self.name)


def history_of(profile: DeliveryProfile | ProfileHistory) -> ProfileHistory:
    """Return the history of a profile that somebody names: it holds for every run. One that is one stays."""
    if isinstance(profile, ProfileHistory):
        return profile
    return ProfileHistory(profile.name, (Declaration(None, profile),), named=True)


@dataclass(frozen=True, slots=True)
class Profiles:
    """The deliveries that a command works with, and what is wrong with declarations that cannot be read."""

    histories: tuple[ProfileHistory, ...] = ()
    problems: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.histories)

    @property
    def named(self) -> DeliveryProfile | None:
        """The profile that somebody named."""
        return next((each.latest for each in self.histories if each.named), None)

    def of_run(self, row: RunRow) -> tuple[DeliveryProfile, ...]:
        """Return the profiles that hold for a run, one for each delivery, whether or not it has part in it."""
        found = (each.of_run(row) for each in self.histories)
        return tuple(profile for profile in found if profile)

    def of_product(self, product: str) -> Profiles:
        """Return the deliveries of this product."""
        found = (each for each in self.histories if any(p.product == product for p in each.profiles))
        return Profiles(tuple(found), self.problems)

    def delivering(self, runs: Sequence[JudgedRun]) -> tuple[ProfileHistory, ...]:
        """Return the deliveries that one of these runs has part in."""
        from run_evidence.evidence.delivery import deliveries

        return tuple(
            each
            for each in self.histories
            if any(deliveries(run, profile) for run in runs if (profile := each.of_run(run.row)))
        )

    @property
    def latest(self) -> tuple[DeliveryProfile, ...]:
        """The profile of each delivery that was declared last."""
        return tuple(each.latest for each in self.histories if each.latest)

    @property
    def every(self) -> tuple[DeliveryProfile, ...]:
        """Every profile there is, also those that were declared anew since."""
        return tuple(profile for each in self.histories for profile in each.profiles)


NO_PROFILES: Final = Profiles()


def profiles_of(profile: DeliveryProfile | None) -> Profiles:
    """Return the profile that somebody named, alone; none for none."""
    return Profiles((history_of(profile),)) if profile else NO_PROFILES


def declared_profiles(ledger: Ledger) -> Profiles:
    """Return the deliveries that a ledger has, by name, sealed or not. `problems` has what cannot be read.

    It is asked as it is now, whatever prefix a document is of: a later declaration changes nothing earlier.

    Raises: what `open_snapshot` raises.
    """
    with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
        return read_profiles(ledger, snapshot)


def read_profiles(ledger: Ledger, snapshot: Snapshot) -> Profiles:
    """Return the deliveries that were declared in a snapshot."""
    from run_evidence.evidence.prefix import query_text

    found: dict[str, list[Declaration]] = {}
    problems = []
    for index, text in snapshot.rows(query_text(_QUERY)):
        name, declared = _declaration(ledger, index, text)
        if declared.problem:
            problems.append(declared.problem)
        if name is not None:
            found.setdefault(name, []).append(declared)
    histories = (ProfileHistory(name, tuple(each)) for name, each in sorted(found.items()))
    return Profiles(tuple(each for each in histories if each.profiles), tuple(problems))


def _declaration(ledger: Ledger, index: int | None, text: str) -> tuple[str | None, Declaration]:
    where = "an entry that is not sealed" if index is None else f"entry {index}"
    name: Any = None
    try:
        data = _whole(ledger, text)
        name = data.get("name")
        return name, Declaration(index, read_declared(data))
    except (LedgerError, RecursionError, TypeError, ValueError) as error:
        problem = f"the delivery profile declared in {where} cannot be read: {error}"
        return name if isinstance(name, str) else None, Declaration(index, None, problem)


def _whole(ledger: Ledger, text: str) -> dict[str, Any]:
    """Return an event's data, from beside the log where it is kept there."""
    sha256 = blob_name(text)
    data = orjson.loads(text if sha256 is None else ledger.payload(sha256))
    if not isinstance(data, dict):
        raise InputError("It is no JSON object.", next_step="ledger verify")
    return data


def digest_of(profiles: Sequence[DeliveryProfile]) -> str:
    """Return eight hex digits that stand for profiles in a file's name: of one its digest's first."""
    digests = sorted({profile_digest(profile) for profile in profiles})
    return (digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest())[:8]
