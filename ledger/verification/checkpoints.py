"""Verifying checkpoints: their form, who signed them, and the copies that others kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.checkpoints import checkpoint_sizes, read_checkpoint, read_checkpoint_file
from run_evidence.ledger.storage.keyring import KeyRecord, read_records
from run_evidence.ledger.storage.layout import CHECKPOINTS, is_checkpoint_name
from run_evidence.ledger.storage.segment import age_s
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint, parse_stored
from run_evidence.ledger.tlog.keys import Verifier, cosigned_at, format_vkey
from run_evidence.ledger.tlog.note import MAX_NOTE_BYTES, open_note
from run_evidence.ledger.tlog.trust import Trust
from run_evidence.ledger.verification.findings import Finding, Kind, Verification

if TYPE_CHECKING:
    from run_evidence.ledger.storage.log import Log
    from run_evidence.ledger.tlog.checkpoint import Checkpoint

_SEAL_AGE_S: Final = 30.0
"""How old a segment without a checkpoint may be for a seal to be still at work on it."""

_HEAD_TRIES: Final = 20
_HEAD_PAUSE_S: Final = 0.1


def read_checkpoints(store: Store, result: Verification) -> dict[int, StoredCheckpoint]:
    """Return the stored checkpoints by size; what is wrong with one is a finding, and it is left out."""
    heads = {}
    for name in filter(is_checkpoint_name, store.names(CHECKPOINTS)):
        where = f"{CHECKPOINTS}/{name}"
        result.checkpoints += 1
        try:
            head = parse_stored(store.read(where, max_bytes=MAX_NOTE_BYTES))
        except FileNotFoundError:
            continue
        except IntegrityError as error:
            result.add(Finding(where, str(error)))
            continue
        stated = head.checkpoint
        if stated.size != int(name):
            result.add(Finding(where, "it is of another size than its name", None, name, str(stated.size)))
        elif stated.origin != result.origin:
            result.add(Finding(where, "it is of another log", None, result.origin, stated.origin))
        else:
            heads[stated.size] = head
    return heads


def read_copies(paths: Sequence[Path], trust: Trust, result: Verification) -> dict[str, StoredCheckpoint]:
    """Return the older checkpoints a verifier kept, by file name; whose they are and who signed them is checked.

    Raises: EnvironmentFault-like OSError when a file cannot be read.
    """
    copies = {}
    for path in paths:
        try:
            head = read_checkpoint_file(path)
        except IntegrityError as error:
            problem = str(error).removeprefix(f"{path}: ")
            result.add(Finding(str(path), problem, kind="not compared", next_step="name a copy of a checkpoint"))
            continue
        if head.checkpoint.origin != result.origin:
            problem = "the copy is of another log"
            result.add(Finding(str(path), problem, None, result.origin, head.checkpoint.origin))
            continue
        _check_lines(str(path), head, [*trust.logs, *trust.witnesses], result)
        copies[str(path)] = head
    return copies


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Which keys stand for the log.

    `wanted`: one of these has to have signed everything that is sealed; none for an unsigned ledger. `known` are
    all keys there are. `recorded`: the ledger names keys, whether one has signed or not. `signed_from` are the
    sizes from which on keys of the ledger signed, by its own word.
    """

    wanted: tuple[Verifier, ...]
    known: tuple[Verifier, ...]
    recorded: bool
    signed_from: tuple[int, ...]


def verify_signatures(
    store: Store, heads: Mapping[int, StoredCheckpoint], trust: Trust, result: Verification
) -> LogKeys:
    """Check every signature by a key that is known, and that none is missing below the last one that is there.

    A key is known because the verifier brought it, or else because the ledger names it as its own. Between the
    first checkpoint a key of the ledger signed and the last, every checkpoint is signed by one. What lies above the
    last is for `verify_coverage`.
    """
    try:
        records = read_records(store)
    except IntegrityError as error:
        result.add(Finding("keys", str(error)))
        records = []
    own = [record.verifier for record in records]
    known = list(dict.fromkeys([*trust.logs, *own]))
    begun = [record for record in records if record.signed_from is not None]
    signing = LogKeys(
        wanted=tuple(trust.logs or (record.verifier for record in begun)),
        known=tuple(known),
        recorded=bool(records),
        signed_from=tuple(record.signed_from or 0 for record in begun),
    )
    result.key_given = bool(trust.logs)
    result.unchecked = _unchecked(heads.values(), [*known, *trust.witnesses])
    sound = {
        size
        for size, head in sorted(heads.items())
        if _check_lines(f"checkpoints/{size:016d}", head, [*known, *trust.witnesses], result)
    }
    last = covered_size({size: heads[size] for size in sound}, signing.wanted)
    for size in sorted(sound):
        kind: Kind = "altered" if size <= last else "not covered"
        _require_signature(size, heads, _wanted(size, heads, trust, records), known, kind, result)
    _verify_records(records, heads, result)
    newest = max(heads, default=None)
    if newest in sound and newest is not None:
        _describe_newest(heads[newest], trust, known, result)
    return signing


def covered_size(heads: Mapping[int, StoredCheckpoint], keys: Sequence[Verifier]) -> int:
    """Return the size of the largest of these checkpoints that has a line by one of the keys; 0 where none has."""
    return max((size for size, head in heads.items() if any(map(head.names, keys))), default=0)


def verify_coverage(
    store: Store,
    log: Log,
    heads: Mapping[int, StoredCheckpoint],
    calculated: Checkpoint,
    trust: Trust,
    signing: LogKeys,
    result: Verification,
) -> None:
    """Check that everything sealed is under a checkpoint signed by a wanted key, and that none is missing.

    `calculated` is the checkpoint over all of the log. What is not covered is no alteration: a seal that died
    between its commit and its checkpoint leaves the same as somebody who deletes the newest checkpoints.
    """
    heads = _with_late_checkpoints(store, log, heads, calculated, signing)
    if log.size == 0 and (signing.recorded or trust.logs):
        problem = "nothing is sealed, so there is nothing that the key stands for"
        result.add(Finding("log", problem, kind="not covered", next_step="ledger sync, then: ledger seal"))
    elif log.size == 0 and not result.unsealed:
        problem = "the ledger holds no entry: nothing was verified"
        result.add(Finding("log", problem, kind="nothing there", next_step="ledger sync"))
    require_covered(log.size, heads, signing, result)
    require_checkpoints(log, heads, result)
    result.beyond_checkpoint = max(log.size - max(heads, default=0), 0)


def require_checkpoints(log: Log, heads: Mapping[int, StoredCheckpoint], result: Verification) -> None:
    """Add a finding for each segment but the last that has no checkpoint at its end: a seal writes those."""
    for segment in log.segments[:-1]:
        if segment.end not in heads:
            problem = "this checkpoint is missing: it was deleted, or a seal died before it was written"
            where = f"checkpoints/{segment.end:016d}"
            result.add(Finding(where, problem, kind="not covered", next_step="ledger seal"))


def require_covered(
    size: int, heads: Mapping[int, StoredCheckpoint], signing: LogKeys, result: Verification
) -> None:
    """Add a finding where the first `size` entries are not all under a checkpoint signed by a wanted key."""
    covered = covered_size(heads, signing.wanted)
    if signing.wanted and covered < size:
        keys = " or ".join(map(format_vkey, signing.wanted))
        problem = f"entries {covered} to {size - 1} lie under no checkpoint signed by {keys}"
        step = "ledger seal, where the key is; it signs only what extends the last checkpoint it signed"
        result.add(Finding("checkpoints", problem, covered, kind="not covered", next_step=step))


def _with_late_checkpoints(
    store: Store, log: Log, heads: Mapping[int, StoredCheckpoint], calculated: Checkpoint, signing: LogKeys
) -> Mapping[int, StoredCheckpoint]:
    """Return the checkpoints, and those that seals have written since, that of all of `log` included.

    Waits a little for that one where a seal may be between the commit of the last segment and its checkpoint: not
    where it is there, and not where what is there is wrong, which no seal writes again.
    """
    found = dict(heads)
    for attempt in range(_HEAD_TRIES):
        if attempt:
            time.sleep(_HEAD_PAUSE_S)
        wrong = _add_late_checkpoints(store, log, found, calculated, signing)
        there = covered_size(found, signing.wanted) >= log.size if signing.wanted else log.size in found
        if there or log.size in wrong or not _is_fresh(log):
            break
    return found


def _add_late_checkpoints(
    store: Store, log: Log, found: dict[int, StoredCheckpoint], calculated: Checkpoint, signing: LogKeys
) -> set[int]:
    """Add to `found` the sound checkpoints that it lacks; return the sizes of those that are wrong."""
    wrong = set()
    for size in checkpoint_sizes(store):
        if size in found or size > log.size:
            continue
        try:
            stored = read_checkpoint(store, size)
            if stored is not None and _is_sound(stored, calculated, signing):
                found[size] = stored  # it was written after the others were verified
            elif stored is not None:
                wrong.add(size)
        except IntegrityError:
            wrong.add(size)
        except OSError:
            continue
    return wrong


def _is_sound(head: StoredCheckpoint, calculated: Checkpoint, signing: LogKeys) -> bool:
    """Return whether a checkpoint is of this log, and its lines by known keys are right. Raises: IntegrityError."""
    if any(map(head.names, signing.known)):
        open_note(head.message, signing.known)
    stated = head.checkpoint
    return stated.origin == calculated.origin and (stated.size != calculated.size or stated == calculated)


def _is_fresh(log: Log) -> bool:
    """Return whether the last segment is so young that the seal that wrote it may still be at work."""
    if not log.segments:
        return False
    try:
        return age_s(log.segments[-1]) < _SEAL_AGE_S
    except OSError:
        return False


def _unchecked(heads: Iterable[StoredCheckpoint], keys: Sequence[Verifier]) -> tuple[str, ...]:
    """Name the signers of lines that none of the keys can check."""
    checked = {(key.name, key.key_id) for key in keys}
    lines = (line for head in heads for line in head.signatures)
    return tuple(sorted({f"{s.name}+{s.key_id.hex()}" for s in lines if (s.name, s.key_id) not in checked}))


def _verify_records(
    records: Sequence[KeyRecord], heads: Mapping[int, StoredCheckpoint], result: Verification
) -> None:
    """See that each key signed from where on its note says it did.

    A key may have signed smaller checkpoints that an earlier one had left unsigned.
    """
    for record in records:
        signed = [size for size, head in heads.items() if head.names(record.verifier)]
        first = min(signed, default=None)
        if first is None or first == record.signed_from:
            continue
        earlier = [r.signed_from for r in records if r.signed_from is not None and r != record]
        if record.signed_from is None or first > record.signed_from or first < min(earlier, default=first + 1):
            where = f"keys/{record.verifier.key_id.hex()}.json"
            problem = "the first checkpoint this key signed is not the one its note says"
            result.add(Finding(where, problem, None, str(first), str(record.signed_from)))


def verify_length(size: int, signing: LogKeys, result: Verification) -> None:
    """See that the log is not shorter than the first checkpoint that a key of the ledger signed."""
    for signed_from in signing.signed_from:
        if signed_from > size:
            problem = (
                "the log is shorter than the first checkpoint that the ledger's key signed: entries were removed"
            )
            result.add(Finding("keys", problem, None, str(signed_from), str(size)))


def _check_lines(where: str, head: StoredCheckpoint, keys: Sequence[Verifier], result: Verification) -> bool:
    """Check the signatures that claim to be by one of the keys; False, and a finding, if one is wrong."""
    if not any(map(head.names, keys)):
        return True
    try:
        open_note(head.message, keys)
    except IntegrityError as error:
        result.add(Finding(where, str(error)))
        return False
    return True


def _wanted(
    size: int, heads: Mapping[int, StoredCheckpoint], trust: Trust, records: Sequence[KeyRecord]
) -> Sequence[Verifier]:
    """Return the keys of which one has to have signed the checkpoint of this size; empty where none has to."""
    if trust.logs:
        started = [r.signed_from for r in records if r.verifier in trust.logs and r.signed_from is not None]
        # A ledger that does not name the key, or no longer does, still shows from where on it was used.
        started += [s for s, head in heads.items() if any(map(head.names, trust.logs))]
        if size >= min([*started, max(heads)]):
            return trust.logs
    begun = [record for record in records if record.signed_from is not None]
    return [r.verifier for r in begun] if any(size >= (r.signed_from or 0) for r in begun) else []


def _require_signature(
    size: int,
    heads: Mapping[int, StoredCheckpoint],
    wanted: Sequence[Verifier],
    known: Sequence[Verifier],
    kind: Kind,
    result: Verification,
) -> None:
    head, where = heads[size], f"checkpoints/{size:016d}"
    expected = " or ".join(map(format_vkey, wanted))
    found = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in head.signatures)
    if wanted and not head.signatures:
        problem = "its signature is missing: it was taken away, or it was sealed without the key"
        step = "ledger seal, where the key is, signs it"
        result.add(Finding(where, problem, None, expected, "no signature", kind, step))
    elif wanted and not any(map(head.names, wanted)):
        result.add(Finding(where, "it is signed by another key", None, expected, found, kind))
    elif head.signatures and not any(map(head.names, known)):
        problem = "it is signed, and by no key this ledger names as its own (bring the log's key with --key)"
        result.add(Finding(where, problem, None, expected or None, found))


def _describe_newest(head: StoredCheckpoint, trust: Trust, known: Sequence[Verifier], result: Verification) -> None:
    result.signed_by = tuple(format_vkey(key) for key in known if head.names(key))
    cosigned = {(s.name, s.key_id): s for s in head.signatures}
    times = []
    for key in trust.witnesses:
        signature = cosigned.get((key.name, key.key_id))
        if signature is None:
            problem = "the witness has not cosigned it"
            where, step = f"checkpoints/{head.checkpoint.size:016d}", "ledger seal --witness URL asks it again"
            result.add(Finding(where, problem, None, format_vkey(key), kind="not covered", next_step=step))
        else:
            times.append((format_vkey(key), cosigned_at(signature)))
    result.cosigned_by = tuple(times)
