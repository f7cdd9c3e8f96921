"""`Ledger`: one ledger at one address, for everyone who appends, seals or reads.

A handle holds no connection, lock or open file; it can be made anew at any time and costs one small read.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from run_evidence.ledger.errors import IntegrityError, NewerSchemaError, NotALedgerError
from run_evidence.ledger.model.canonical import Json, canonical
from run_evidence.ledger.model.event import Event, Row, encode
from run_evidence.ledger.storage import inbox
from run_evidence.ledger.storage.files import MAX_SETTINGS_BYTES, readable_fault
from run_evidence.ledger.storage.folder import FolderStore
from run_evidence.ledger.storage.layout import (
    CHECKPOINTS,
    FOLDERS,
    FORMAT_VERSION,
    LAST_SYNC,
    MARKER,
    NAME_KEY,
    payload_name,
)
from run_evidence.ledger.storage.redaction_settings import read_redaction
from run_evidence.ledger.storage.store import Store

if TYPE_CHECKING:
    from run_evidence.ledger.redaction.redact import Redaction
    from run_evidence.ledger.sealing.seal import Sealed
    from run_evidence.ledger.storage.keyring import SigningSetup
    from run_evidence.ledger.storage.log import Log

_RUN_ID = re.compile(rb'"run_id":("(?:[^"\\]|\\.)*")')

Clock = Callable[[], int]

NEEDED_PAYLOADS: Final = frozenset(
    {
        "plan.committed.v1",
        "outcomes.derived.v1",
        "run.seen.v1",
        "run.tags_changed.v1",
        "run.closed.v1",
        "run.reopened.v1",
        "policy.declared.v1",
        "delivery.declared.v1",
        "partitions.declared.v1",
        "delivery.signed_off.v1",
    }
)
"""The ledger's own events without whose payload a run cannot be captured or judged, or who held it is not known."""


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
    """The ledger at `place`, a folder or a store. `clock` gives microseconds and is the source of recorded times.

    `signing_setup` says where this process finds the private key it seals with and which witnesses it asks; without
    one, what it seals is not signed (`ledger.settings.open_ledger` brings the user's).
    """

    def __init__(
        self, place: str | Path | Store, *, clock: Clock = system_clock, signing_setup: SigningSetup | None = None
    ) -> None:
        self.store: Store = FolderStore(Path(place).absolute()) if isinstance(place, str | Path) else place
        self.clock = clock
        self.signing_setup = signing_setup

    @property
    def root(self) -> Path:
        """The ledger's folder."""
        return self.store.path("")

    def exists(self) -> bool:
        """Tell whether a ledger is there (not whether it is sound: see `require`)."""
        try:
            return self.store.stat(MARKER) is not None
        except OSError as error:
            raise readable_fault(error, f"The ledger at {self.root} cannot be read") from None

    def require(self) -> str:
        """Return the ledger's origin, the name of its log in every checkpoint.

        Raises `NotALedgerError` when nothing is there, when something else is, or when it is of a newer
        format than this program reads.
        """
        try:
            settings = orjson.loads(self.store.read(MARKER, follow=True, max_bytes=MAX_SETTINGS_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            raise self._absent() from None
        except OSError as error:
            raise readable_fault(error, f"The ledger at {self.root} cannot be read") from None
        except (orjson.JSONDecodeError, IntegrityError):
            settings = None
        settings = settings if isinstance(settings, dict) else {}
        version, origin = settings.get("format"), settings.get("origin")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise NotALedgerError(
                f"The ledger at {self.root} has format {version}; this program reads up to {FORMAT_VERSION}.",
                next_step="pip install --upgrade run-evidence-ledger",
            )
        if version != FORMAT_VERSION or version is True or not isinstance(origin, str) or not origin:
            raise NotALedgerError(
                f"{self.store.path(MARKER)} is not the settings file of a ledger: expected JSON with `format` and "
                "`origin`.",
                next_step="restore ledger.json from a copy, or name another path with --ledger",
            )
        return origin

    def _absent(self) -> NotALedgerError:
        what = f"There is no ledger at {self.root}."
        try:
            if self.store.names():
                what = f"{self.root} is a folder without ledger.json, so it is not a ledger."
        except NotADirectoryError:
            if self.store.stat("") is not None:
                what = f"{self.root} is a file; a ledger is a folder."
        except OSError as error:
            return NotALedgerError(str(readable_fault(error, what)))
        return NotALedgerError(
            what, next_step="name it with --ledger PATH or LEDGER_URL; the first append makes one: ledger sync"
        )

    def create(self, origin: str | None = None) -> str:
        """Make the ledger if it is not there and return its origin. Rivals end up with the same one.

        `origin` names a new ledger's log; else it gets a name of its own. Raises `NotALedgerError` when the
        folder holds something else.
        """
        try:
            if self.exists():
                self.store.prepare(FOLDERS)
                return self.require()
            # A rival, or a crash, may have left it half made.
            if not set(self.store.names()) <= {*FOLDERS, NAME_KEY, MARKER}:
                raise self._absent()
            self.store.prepare(FOLDERS)
            settings: dict[str, Json] = {
                "format": FORMAT_VERSION,
                "origin": origin or f"run-evidence-ledger/{uuid.uuid4()}",
            }
            self.store.create(MARKER, canonical(settings) + b"\n")
        except FileExistsError:
            pass  # a rival made it at the same moment: theirs is the ledger
        except NotADirectoryError:
            raise self._absent() from None
        except OSError as error:
            raise readable_fault(error, f"No ledger can be made at {self.root}") from None
        return self.require()

    def append(self, events: Iterable[Event], *, personal: bool = False) -> int:
        """Record events durably as one object and return how many; the ledger is made if it is not there.

        Secrets are taken out first (`ledger.redaction.redact`). With `personal` the payloads are stored beside the
        log, where they can be erased. All or nothing: when this returns they survive a power cut. When it raises,
        none or all of them are recorded, and appending them again records them once.
        """
        now = self.clock()
        redaction = self.redaction()
        clean = [redaction.apply(event) for event in events]
        encoded = [encode(event, now, beside=personal or redaction.is_personal(event)) for event in clean]
        if not encoded:
            return 0
        self.create()
        try:
            inbox.append(self.store, encoded, now)
        except OSError as error:
            raise readable_fault(error, f"Nothing was appended to {self.root}") from None
        return len(encoded)

    def redacted(self, event: Event) -> Event:
        """Return the event as `append` would record it, for callers that compare with what is recorded."""
        return self.redaction().apply(event)

    def redaction(self) -> Redaction:
        """Return what this ledger takes out of events. Raises: InputError when its own rules are wrong."""
        return read_redaction(self.store)

    def seal(self) -> Sealed:
        """Give everything in the inbox its index, extend the tree, commit and write the checkpoint.

        The checkpoint is signed, and witnesses asked to cosign it, as far as the `signing_setup` has the means.
        """
        from run_evidence.ledger.sealing.seal import seal

        origin = self.require()
        try:
            done = seal(
                self.store,
                origin,
                self.clock,
                self.signing_setup.signer(self.store) if self.signing_setup else None,
            )
            if self.signing_setup is None or not self.signing_setup.witnesses:
                return done
            from run_evidence.ledger.sealing.cosign import cosign_checkpoint

            asked = cosign_checkpoint(self.store, done.size, self.signing_setup)
            return replace(done, unwitnessed=asked.faults, contradicted=asked.contradictions)
        except OSError as error:
            raise readable_fault(error, f"The ledger at {self.root} cannot be sealed; the inbox is kept") from None

    def log(self) -> Log:
        """Load the newest version of the sealed log.

        Raises `NotALedgerError`, or `IntegrityError` when it cannot be loaded or lost entries.
        """
        from run_evidence.ledger.storage.log import open_log

        self.require()
        return open_log(self.store)

    def known(self, run_ids: Collection[str], *, sealed: bool = True) -> dict[str, RunKnown]:
        """Return what the ledger holds about these runs, sealed or not; every run asked for has a value.

        With `sealed=False` only the inbox is read, which needs no database and opens no segment.
        Damaged inbox objects are passed over: what they held then counts as unknown and is captured again.
        """
        found = {run_id: RunKnown({}, []) for run_id in run_ids}
        if not found or not self.exists():
            return found
        unsealed = list(self._unsealed_state(found))  # before the log: what vanishes meanwhile is in the log
        noted: set[str] = set()
        if sealed:
            from run_evidence.ledger.storage.search import sealed_run_state

            for run_id, storage_id, store_id, digest, entry in sealed_run_state(self.log(), list(found)):
                if entry is None:
                    found[run_id].records[store_id, storage_id] = digest
                else:
                    self._note_own(found[run_id], orjson.loads(entry), noted)
        for row, body in unsealed:
            if isinstance(row.key, tuple):
                store_id, run_id, storage_id = row.key
                found[run_id].records.setdefault((store_id, storage_id), row.source_digest)
            else:
                self._note_own(found[body["run_id"]], body, noted)
        return found

    def _note_own(self, known: RunKnown, body: dict[str, Any], noted: set[str]) -> None:
        """Add an event of the ledger's own, once; a payload that is kept outside it is read."""
        if body["event_id"] in noted:
            return
        noted.add(body["event_id"])
        data: dict[str, Json] = body["data"]
        if data.keys() == {"blob_sha256", "blob_size_bytes"}:
            sha256 = str(data["blob_sha256"])
            # An erased payload leaves the reference to it.
            if body["event_type"] in NEEDED_PAYLOADS or self.has_payload(sha256):
                data = orjson.loads(self.payload(sha256))
        known.own.append(OwnEvent(body["event_id"], body["event_type"], body["occurred_at"], data))

    def has_payload(self, sha256: str) -> bool:
        """Return whether a payload that is kept beside the log is there. Its bytes are not read."""
        return self.store.stat(payload_name(sha256)) is not None

    def payload(self, sha256: str) -> bytes:
        """Return a payload that is kept beside the log.

        Raises: IntegrityError when it is not what its digest says; EnvironmentFault when it cannot be read.
        """
        try:
            content = self.store.read(payload_name(sha256))
        except OSError as error:
            raise readable_fault(error, f"The payload blobs/{sha256} cannot be read") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise IntegrityError(
                f"blobs/{sha256} ({len(content)} bytes) is not what its name says.", next_step="ledger verify"
            )
        return content

    def _unsealed_state(self, wanted: Collection[str]) -> Iterator[tuple[Row, dict[str, Any]]]:
        marks = {canonical(run_id) for run_id in wanted}
        for name in inbox.names(self.store):
            try:
                item = inbox.read(self.store, name)
                # Spares most objects the parsing: one search an entry, however many runs are wanted.
                if item is None or all(marks.isdisjoint(_RUN_ID.findall(entry)) for entry in item.entries):
                    continue
                rows = inbox.rows(item)
            except (IntegrityError, NewerSchemaError):
                continue  # `seal`, `verify` and `doctor` report it
            for row in rows:
                body = orjson.loads(row.entry)
                if body.get("run_id") in wanted:
                    yield row, body

    def note_sync(self) -> None:
        """Note that a sync has read all runs to their end just now; `status` shows when that was."""
        try:
            self.store.replace(LAST_SYNC, b"%d\n" % self.clock())
        except OSError as error:
            raise readable_fault(error, f"The time of this sync cannot be noted in {self.root}") from None

    def sealed_since(self, moment: int) -> bool:
        """Tell, by one look at a folder, whether anything may have been sealed after `moment` (microseconds)."""
        found = self.store.stat(CHECKPOINTS)
        return found is not None and found.modified_us >= moment
