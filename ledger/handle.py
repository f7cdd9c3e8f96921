"""`Ledger`: one ledger at one address, for everyone who appends, seals or reads.

A handle holds no connection, lock or open file; it can be made anew at any time and costs one small read.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ledger import inbox
from ledger.canonical import Json, canonical
from ledger.errors import IntegrityError, NotALedgerError
from ledger.event import Event, encode
from ledger.layout import FORMAT_VERSION, Layout
from ledger.store import create_exclusive, make_folder, readable_fault

if TYPE_CHECKING:
    from ledger.log import Log
    from ledger.seal import Sealed

Clock = Callable[[], int]


def system_clock() -> int:
    """Return the time now in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """An event of the ledger's own about a run (plan, skip, tags, outcomes, closing, alarm)."""

    event_id: str
    event_type: str
    occurred_at: int
    data: dict[str, Json]


@dataclass(frozen=True, slots=True)
class RunKnown:
    """What the ledger holds about one run: {(store_id, storage_id): digest}, and its own events in order."""

    records: dict[tuple[str, int], str]
    own: list[OwnEvent]


class Ledger:
    """The ledger in the folder `root`. `clock` gives microseconds and is the one source of recorded times."""

    def __init__(self, root: str | Path, *, clock: Clock = system_clock) -> None:
        self.layout = Layout(Path(root).absolute())
        self.clock = clock

    @property
    def root(self) -> Path:
        """The ledger's folder."""
        return self.layout.root

    def exists(self) -> bool:
        """Tell whether a ledger is there (not whether it is sound: see `require`)."""
        return self.layout.marker.is_file()

    def require(self) -> str:
        """Return the ledger's origin, the name of its log in every checkpoint.

        Raises `NotALedgerError` when nothing is there, when something else is, or when it is of a newer
        format than this program reads.
        """
        marker = self.layout.marker
        try:
            settings = orjson.loads(marker.read_bytes())
            version = int(settings["format"])
            origin = str(settings["origin"])
        except FileNotFoundError:
            raise self._absent() from None
        except OSError as error:
            raise readable_fault(error, f"The ledger at {self.root} cannot be read") from None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise NotALedgerError(
                f"{marker} is not the settings file of a ledger: expected JSON with `format` and `origin`.",
                next_step="restore ledger.json from a copy, or name another path with --ledger",
            ) from None
        if version > FORMAT_VERSION:
            raise NotALedgerError(
                f"The ledger at {self.root} has format {version}; this program reads up to {FORMAT_VERSION}.",
                next_step="pip install --upgrade run-evidence-ledger",
            )
        return origin

    def _absent(self) -> NotALedgerError:
        if self.root.is_dir() and any(self.root.iterdir()):
            what = f"{self.root} is a folder without ledger.json, so it is not a ledger."
        elif self.root.exists() and not self.root.is_dir():
            what = f"{self.root} is a file; a ledger is a folder."
        else:
            what = f"There is no ledger at {self.root}."
        return NotALedgerError(
            what, next_step="name it with --ledger PATH or LEDGER_URL; the first append makes one: ledger sync"
        )

    def create(self) -> str:
        """Make the ledger if it is not there and return its origin. Rivals end up with the same one.

        Raises `NotALedgerError` when the folder holds something else.
        """
        if self.exists():
            return self.require()
        if self.root.exists() and (not self.root.is_dir() or not self._only_ledger_folders()):
            raise self._absent()
        try:
            for folder in self.layout.folders:
                make_folder(folder)
            settings: dict[str, Json] = {
                "format": FORMAT_VERSION,
                "origin": f"run-evidence-ledger/{uuid.uuid4()}",
            }
            create_exclusive(self.layout.marker, canonical(settings) + b"\n")
        except FileExistsError:
            pass  # a rival made it at the same moment: theirs is the ledger
        except OSError as error:
            raise readable_fault(error, f"No ledger can be made at {self.root}") from None
        return self.require()

    def _only_ledger_folders(self) -> bool:
        """Tell a folder that a rival, or a crash, left half made from one that holds something else."""
        ours = {folder.name for folder in self.layout.folders[1:]}
        return all(item.name in ours or item.name.startswith(".tmp-") for item in self.root.iterdir())

    def append(self, events: Iterable[Event]) -> int:
        """Record events durably as one object and return how many; the ledger is made if it is not there.

        All or nothing: when this returns they survive a power cut, when it raises none is visible.
        """
        now = self.clock()
        encoded = [encode(event, now) for event in events]
        if not encoded:
            return 0
        self.create()
        try:
            inbox.append(self.layout, encoded, now)
        except OSError as error:
            raise readable_fault(error, f"Nothing was appended to {self.root}") from None
        return len(encoded)

    def seal(self) -> Sealed:
        """Give everything in the inbox its index, extend the tree, commit and write the checkpoint."""
        from ledger.seal import seal

        return seal(self.layout, self.require(), self.clock)

    def log(self) -> Log:
        """Load the newest version of the sealed log."""
        from ledger.log import load

        self.require()
        return load(self.layout.log)

    def known(self, run_ids: Collection[str], *, sealed: bool = True) -> dict[str, RunKnown]:
        """Return what the ledger holds about these runs, sealed or not; every run asked for has a value.

        With `sealed=False` only the inbox is looked at, which needs no database and opens no segment.
        Damaged inbox objects are passed over: what they held then counts as unknown and is captured again.
        """
        found = {run_id: RunKnown({}, []) for run_id in run_ids}
        if not found or not self.exists():
            return found
        unsealed = list(self._unsealed_state(found))  # before the log: what vanishes meanwhile is in the log
        if sealed:
            from ledger.lookup import sealed_run_state

            for run_id, storage_id, store_id, digest, _, entry in sealed_run_state(self.log(), list(found)):
                _note(found[run_id], store_id, storage_id, digest, orjson.loads(entry) if entry else None)
        for body in unsealed:
            _note(found[body["run_id"]], body.get("store_id"), body.get("storage_id"), body["source_digest"], body)
        return found

    def _unsealed_state(self, wanted: Container[str]) -> Iterator[dict[str, Any]]:
        for name in inbox.names(self.layout):
            try:
                item = inbox.read(self.layout, name)
            except IntegrityError:
                continue  # `seal`, `verify` and `doctor` report it
            for entry in item.entries if item else ():
                body = orjson.loads(entry)
                if body.get("run_id") in wanted:
                    yield body

    def sealed_since(self, moment: int) -> bool:
        """Tell, by one listing, whether anything may have been sealed after `moment` (microseconds)."""
        try:
            return self.layout.checkpoints.stat().st_mtime_ns // 1000 >= moment
        except FileNotFoundError:
            return False


def _note(known: RunKnown, store_id: Any, storage_id: Any, digest: str, body: dict[str, Any] | None) -> None:
    if storage_id is not None:
        known.records.setdefault((store_id, storage_id), digest)
    elif body is not None:
        known.own.append(OwnEvent(body["event_id"], body["event_type"], body["occurred_at"], body["data"]))
