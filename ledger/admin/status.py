"""How a ledger is doing: its size, what waits, and what is wrong with it or its store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from run_evidence.ledger.admin.signed_state import signed_state
from run_evidence.ledger.errors import IntegrityError, LedgerError, NewerSchemaError
from run_evidence.ledger.query.snapshot import erased_payloads, open_snapshot
from run_evidence.ledger.sealing.compact import KEEP_SECONDS, orphans
from run_evidence.ledger.sealing.signing import last_signed, require_length, require_memory
from run_evidence.ledger.storage import inbox
from run_evidence.ledger.storage.checkpoints import checkpoint_sizes
from run_evidence.ledger.storage.files import readable_fault
from run_evidence.ledger.storage.layout import FOLDERS, LAST_SYNC, PAYLOADS, payload_name
from run_evidence.ledger.storage.search import sql_text
from run_evidence.ledger.storage.segment import size_on_disk
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.storage.torn_log import repair_of_torn_log
from run_evidence.ledger.tlog.trust import NOTHING_BROUGHT
from run_evidence.ledger.verification.checkpoints import (
    read_checkpoints,
    require_checkpoints,
    require_covered,
    verify_length,
    verify_signatures,
)
from run_evidence.ledger.verification.findings import Finding, Verification

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.storage.log import Log

_RESTORE: Final = "restore log/ from a copy of the ledger, then: ledger verify"

MANY_UNSEALED_OBJECTS: Final = 2_000
MANY_SEGMENTS: Final = 200
_CLOCK_SKEW_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Status:
    """A ledger in numbers. Sizes in bytes, times in microseconds since 1970; `None` where there is none yet.

    `last_recorded_at` is of the newest append, `oldest_unsealed_at` of the oldest one that waits. `signing` says
    who signed the newest checkpoint, in words. `last_sync_at` is when the orchestrator's runs were last walked to
    their end; `lag_us` how long, at the median, its newest records took from happening to being recorded.
    """

    path: Path
    origin: str
    sealed_events: int
    segments: int
    checkpoint_size: int
    signed: bool
    signed_by: tuple[str, ...]
    signing: str
    unsealed_events: int
    unsealed_objects: int
    damaged_objects: int
    oldest_unsealed_at: int | None
    last_recorded_at: int | None
    last_sync_at: int | None
    lag_us: int | None
    size_bytes: int


def status(ledger: Ledger) -> Status:
    """Measure a ledger. Cost: one listing of its folders, the inbox read twice, one query of the newest events.

    Raises `NotALedgerError`, or `IntegrityError` when the log cannot be loaded.
    """
    origin = ledger.require()
    store = ledger.store
    names = inbox.names(store)
    unsealed, damaged = _count_unsealed(store, names)
    log = ledger.log()
    checkpoints = checkpoint_sizes(store)
    state = signed_state(store)
    recorded_at, lag_us = _recording(ledger)
    return Status(
        path=ledger.root,
        origin=origin,
        sealed_events=log.size,
        segments=len(log.segments),
        checkpoint_size=checkpoints[0] if checkpoints else 0,
        signed=bool(state.signed_by),
        signed_by=state.signed_by,
        signing=state.sentence,
        unsealed_events=unsealed,
        unsealed_objects=len(names),
        damaged_objects=damaged,
        oldest_unsealed_at=int(names[0][:16]) if names else None,
        last_recorded_at=int(names[-1][:16]) if names else recorded_at,
        last_sync_at=_last_sync(store),
        lag_us=lag_us,
        size_bytes=sum(stored.size_bytes for stored in store.objects()),
    )


def _last_sync(store: Store) -> int | None:
    """Read the hint; one that is gone or not a number is no hint."""
    try:
        return int(store.read(LAST_SYNC))
    except (OSError, ValueError, IntegrityError):
        return None


def _recording(ledger: Ledger) -> tuple[int | None, int | None]:
    """Return when the newest entry was recorded, by itself, and how long recording takes."""
    with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
        newest: int | None = snapshot.rows(sql_text("newest_times"))[0][0]
        median: int | None = snapshot.rows(sql_text("lag"))[0][0]
    return newest, median


def _count_unsealed(store: Store, names: list[str]) -> tuple[int, int]:
    """Count (entries, damaged objects) in the inbox; what a sealer takes meanwhile is in the log."""
    entries = damaged = 0
    for name in names:
        try:
            item = inbox.read(store, name)
        except IntegrityError:
            damaged += 1
            continue
        entries += len(item.entries) if item else 0
    return entries, damaged


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One result of `doctor`. `level`: ok, advice or problem."""

    level: Literal["ok", "advice", "problem"]
    what: str
    next_step: str | None = None


def diagnose(ledger: Ledger) -> list[Diagnosis]:
    """Look for what is wrong with a ledger or its store; never raises for what it finds."""
    try:
        origin = ledger.require()
    except LedgerError as error:
        return [Diagnosis("problem", str(error), error.next_step)]
    found = [Diagnosis("ok", f"{ledger.root} is a ledger ({origin})")]
    found.extend(_place(ledger))
    if any(d.level == "problem" for d in found):
        return found
    found.extend(_damaged_objects(ledger))
    try:
        log = ledger.log()
    except NewerSchemaError as error:
        return [*found, Diagnosis("problem", str(error), error.next_step)]
    except LedgerError as error:
        step = "ledger compact" if error.next_step == "ledger compact" else _RESTORE
        found.append(Diagnosis("problem", str(error), repair_of_torn_log(ledger.store) or step))
        return found
    if log.foreign:
        what = (
            f"Another tool has rewritten {len(log.foreign)} files of the log, so nothing can be sealed or verified."
        )
        found.append(Diagnosis("problem", what, "ledger compact, then: ledger verify"))
        return found
    damaged = _damaged_segments(log)
    found.extend(damaged)
    found.extend(_log_advice(ledger, log))
    if not damaged:
        found.extend(_clock(ledger))
        found.extend(_beside_the_log(ledger, log))
    found.extend(_signer(ledger))
    return found


def _clock(ledger: Ledger) -> list[Diagnosis]:
    """Compare what was recorded with this machine's clock: runs are closed by it, and by a grace period."""
    now = ledger.clock()
    with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
        ((recorded, occurred),) = snapshot.rows(sql_text("newest_times"))
    ahead = [
        (moment - now, what)
        for moment, what in ((recorded, "was recorded"), (occurred, "says that it happened"))
        if moment is not None and moment - now > _CLOCK_SKEW_US
    ]
    return [
        Diagnosis(
            "advice",
            f"An entry {what} {seconds // 1_000_000} s after this machine's time now.",
            "compare the clocks of this machine and of those that run Dagster",
        )
        for seconds, what in ahead
    ]


def _beside_the_log(ledger: Ledger, log: Log) -> list[Diagnosis]:
    """Look for what a verification would find in checkpoints, keys and payloads; entries are for it alone."""
    store, result = ledger.store, Verification(ledger.require())
    try:
        heads = read_checkpoints(store, result)
        signing = verify_signatures(store, heads, NOTHING_BROUGHT, result)
        verify_length(log.size, signing, result)
        require_covered(log.size, heads, signing, result)
        require_checkpoints(log, heads, result)
        regular = {stored.name for stored in store.objects(PAYLOADS)}
        for where in map(payload_name, store.names(PAYLOADS)):
            if where not in regular:
                step = f"move {store.path(where)} away"
                result.add(Finding(where, "it is no regular file", next_step=step))
        for name in erased_payloads(ledger):
            if ledger.has_payload(name):
                step = "ledger erase EVENT_ID; the view payloads names the event"
                result.add(Finding(f"blobs/{name}", "it was erased on record, and is there", next_step=step))
    except OSError as error:
        return [Diagnosis("problem", str(readable_fault(error, "Checkpoints, keys or payloads cannot be read")))]
    except LedgerError as error:
        return [Diagnosis("problem", str(error), error.next_step)]
    return [
        Diagnosis("problem", f"{f.where}: {f.problem}", f.next_step or "ledger verify") for f in result.findings
    ]


def _signer(ledger: Ledger) -> list[Diagnosis]:
    """See whether the key that this process would seal with can sign: its file, and what it remembers."""
    try:
        signer = ledger.signing_setup.signer(ledger.store) if ledger.signing_setup else None
        if signer is not None:
            require_memory(ledger.store, ledger.require(), signer)
            last = last_signed(signer, ledger.require())  # before the log: another process may seal now
            require_length(ledger.log().size, last, signer)
    except LedgerError as error:
        return [Diagnosis("problem", str(error), error.next_step)]
    return []


def _damaged_segments(log: Log) -> list[Diagnosis]:
    """Look at the segments' sizes alone; what is inside is for `ledger verify`."""
    found = []
    for segment in log.segments:
        try:
            size = size_on_disk(segment)
        except OSError as error:
            found.append(Diagnosis("problem", f"log/{segment.name}: {error.strerror}.", _RESTORE))
            continue
        if size != segment.size_bytes:
            what = f"log/{segment.name} has {size} bytes, {segment.size_bytes} were written."
            found.append(Diagnosis("problem", what, _RESTORE))
    return found


def _place(ledger: Ledger) -> list[Diagnosis]:
    found = [Diagnosis("problem", what, step) for what, step in ledger.store.problems(FOLDERS)]
    return found or [Diagnosis("ok", "the store keeps its promises: durable, exclusive creation")]


def _damaged_objects(ledger: Ledger) -> list[Diagnosis]:
    found = []
    for name in inbox.names(ledger.store):
        try:
            inbox.read_rows(ledger.store, name)
        except (IntegrityError, NewerSchemaError) as error:
            found.append(Diagnosis("problem", str(error), error.next_step))
    return found


def _log_advice(ledger: Ledger, log: Log) -> list[Diagnosis]:
    waiting = len(inbox.names(ledger.store))
    lost = orphans(ledger.store, log, KEEP_SECONDS)
    signing = signed_state(ledger.store)
    found = [Diagnosis("ok", f"the log has {log.size} entries in {len(log.segments)} segments, {signing.sentence}")]
    if signing.problem:
        step = "ledger seal, where the key is; if that does not help: ledger verify"
        found = [Diagnosis("problem", signing.problem, step)]
    elif signing.keys and not signing.signed_by:
        found.append(Diagnosis("advice", "The ledger has a key that has signed nothing yet.", "ledger seal"))
    if waiting > MANY_UNSEALED_OBJECTS:
        found.append(Diagnosis("advice", f"{waiting} appends wait to be sealed.", "ledger seal"))
    if len(log.segments) > MANY_SEGMENTS:
        found.append(
            Diagnosis("advice", f"{len(log.segments)} small segments slow queries down.", "ledger compact")
        )
    if lost:
        what = f"{len(lost)} files are left of a crash or a compaction; nothing refers to them."
        found.append(Diagnosis("advice", what, "ledger compact"))
    return found
