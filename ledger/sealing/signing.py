"""Writing checkpoints: one is signed only after the last one the key signed was proved to be a prefix of it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError, LedgerError
from run_evidence.ledger.storage.checkpoints import checkpoints_below, read_checkpoint
from run_evidence.ledger.storage.consistency import prove_extension
from run_evidence.ledger.storage.keyring import (
    MEMORY_SETTING,
    KeyRecord,
    LogSigner,
    read_records,
    record_signed_from,
)
from run_evidence.ledger.storage.layout import checkpoint_name
from run_evidence.ledger.storage.log import load
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint, format_checkpoint, parse_stored
from run_evidence.ledger.tlog.keys import Signature, Signer, Verifier, format_vkey
from run_evidence.ledger.tlog.merkle import MAX_SIZE
from run_evidence.ledger.tlog.note import add_signatures, format_note, open_note, sign_note

if TYPE_CHECKING:
    from pathlib import Path

_SIGNED_IN_A_ROW: Final = 8


class NoMemoryError(LedgerError):
    """The key has no memory of this log, so nobody knows what it signed last; its owner has to decide."""


class DamagedMemoryError(IntegrityError):
    """The key's memory cannot be read: nothing is known of what it signed last, nor said against the ledger."""

    exit_code = EnvironmentFault.exit_code


def write_checkpoint(store: Store, checkpoint: Checkpoint, signer: LogSigner | None) -> StoredCheckpoint:
    """Write the checkpoint of this size, signed if there is a key; one that is there already must say the same.

    What the key signed last, as its memory has it, is proved to be a prefix of this checkpoint, whatever the ledger
    shows. An unsigned checkpoint that is there gets its signature, and so do those before it that a process without
    the key has left unsigned. Two processes that do this at once write the same bytes.

    Raises: IntegrityError when the stored checkpoint says something else, a signature by this key is wrong, or the
    last signed checkpoint is not a prefix of this one: a log must not sign two checkpoints that contradict each
    other; NoMemoryError when the memory is lost or cannot be written. An unsigned checkpoint is there then.
    Source: C2SP tlog-checkpoint, Signatures.
    """
    if signer is None:
        return _create(store, checkpoint)
    require_agreement(read_checkpoint(store, checkpoint.size), checkpoint)
    try:
        require_memory(store, checkpoint.origin, signer)
        with signer.memory.held():
            return _write_signed(store, checkpoint, signer)
    except (NoMemoryError, OSError) as error:
        _create(store, checkpoint)
        if isinstance(error, NoMemoryError) or not _is_in(error, signer.memory.folder):
            raise
        raise NoMemoryError(
            f"What this key signs cannot be remembered in {signer.memory.folder}: {error.strerror}.",
            next_step=f"make the folder writable, or name another one with {MEMORY_SETTING}",
        ) from None


def _is_in(error: OSError, folder: Path) -> bool:
    return str(error.filename or "").startswith(str(folder))


def _write_signed(store: Store, checkpoint: Checkpoint, signer: LogSigner) -> StoredCheckpoint:
    key = signer.key.verifier()
    last = _require_agreement_with_last(store, checkpoint, signer)
    records = read_records(store)
    if checkpoint.size < min((r.signed_from for r in records if r.signed_from is not None), default=0):
        return _create(store, checkpoint)  # checkpoints from before the first key's time stay as they are
    stored = read_checkpoint(store, checkpoint.size)
    signed, unsigned = _behind(store, checkpoint.size, records)
    if stored is None or unsigned or not _signed_by(stored, [key]):
        for old in (*unsigned, *signed[:1]):
            prove_extension(store, lambda: load(store), old.checkpoint, checkpoint)
    # Before the signature is anywhere else: a crash in between leaves a checkpoint that is signed again.
    if last is None or last.size <= checkpoint.size:
        remember(signer, checkpoint)
    if all(record.verifier != key or record.signed_from is None for record in records):
        # After the memory: that it has signed and remembers nothing is what a key with a lost memory looks like.
        # Before the signature: a crash in between leaves a checkpoint that is missed, not one that nobody expects.
        record_signed_from(store, key, _first_signed(store, key, checkpoint.size))
    for head in unsigned:
        _sign_stored(store, head, signer.key)
    return _create_signed(store, checkpoint, signer.key)


def require_memory(store: Store, origin: str, signer: LogSigner) -> None:
    """Pass if the key remembers what it signed last in this log, or has never signed anything.

    Raises: NoMemoryError.
    """
    key, memory = signer.key.verifier(), signer.memory
    if not memory.exists():
        why = f"there is no {memory.folder}, where it remembers what it signed last"
    elif _remembered(signer, origin) is not None:
        return
    elif not memory.is_empty():
        why = f"it remembers other logs in {memory.folder}, and not {origin}"
    elif _has_signed(store, key):
        why = f"this ledger shows that it has signed, and {memory.folder} remembers nothing"
    else:
        return
    raise NoMemoryError(
        f"The key {format_vkey(key)} was not used: {why}.",
        next_step="ledger verify --since a checkpoint that you kept; if all is well: ledger key add FILE",
    )


def _first_signed(store: Store, key: Verifier, size: int) -> int:
    """Return the smallest size whose checkpoint the key signed, else `size`: the record of it may be lost."""
    return min(
        (h.checkpoint.size for h in checkpoints_below(store, below=size) if _signed_by(h, [key])), default=size
    )


def _has_signed(store: Store, key: Verifier) -> bool:
    if any(r.verifier == key and r.signed_from is not None for r in read_records(store)):
        return True
    return any(head.names(key) for head in checkpoints_below(store, below=MAX_SIZE))


def _require_agreement_with_last(store: Store, checkpoint: Checkpoint, signer: LogSigner) -> Checkpoint | None:
    """Return the last checkpoint this key signed, after proving that it and this one are of one history.

    That one may be the longer: another process with the key sealed more before this one wrote its head.
    Raises: IntegrityError.
    """
    last = last_signed(signer, checkpoint.origin)
    if last is None or last.size == 0:
        return last
    if last.size > checkpoint.size:
        require_length(load(store).size, last, signer)
    old, new = sorted((last, checkpoint), key=lambda head: head.size)
    try:
        prove_extension(store, lambda: load(store), old, new)
    except IntegrityError:
        raise IntegrityError(
            f"This log is not an extension of the {last.size} entries this key signed, root {last.root.hex()}: "
            "history was rewritten. Nothing was signed.",
            next_step=_compare(checkpoint.origin, signer),
        ) from None
    return last


def require_length(size: int, last: Checkpoint | None, signer: LogSigner) -> None:
    """Pass if a log of this size is not shorter than `last`, what the key signed last. Raises: IntegrityError.

    `last` was read before the log was, else another process with the key may have added to both in between.
    """
    if last is not None and last.size > size:
        raise IntegrityError(
            f"The key signed {last.size} entries of this log, and the log has {size}: entries were removed. "
            "Nothing was signed.",
            next_step=_compare(last.origin, signer),
        )


def _compare(origin: str, signer: LogSigner) -> str:
    return (
        "compare the ledger with a copy, and keep this state: it is evidence too; "
        f"the key's memory is {signer.memory.path(origin)}"
    )


def last_signed(signer: LogSigner, origin: str) -> Checkpoint | None:
    """Return what the key signed last in this log. Raises: DamagedMemoryError."""
    head = _remembered(signer, origin)
    return head.checkpoint if head else None


def _remembered(signer: LogSigner, origin: str) -> StoredCheckpoint | None:
    key, path = signer.key.verifier(), signer.memory.path(origin)
    try:
        head = signer.memory.last(origin)
        if head is not None:
            open_note(head.message, [key])
    except IntegrityError as error:
        raise DamagedMemoryError(
            f"The key {format_vkey(key)} was not used: what it remembers of this log is damaged. "
            f"{path}: {str(error).removeprefix(f'{path}: ')}",
            next_step="restore the file from a copy; without one, verify the ledger against a checkpoint that you "
            "kept (ledger verify --since COPY), then: ledger key add --forget FILE",
        ) from None
    return head


def remember(signer: LogSigner, checkpoint: Checkpoint) -> None:
    """Keep a checkpoint as what the key signed last. The caller has proved it, and holds the memory."""
    signer.memory.remember(checkpoint.origin, sign_note(format_checkpoint(checkpoint), [signer.key]))


def _create(store: Store, checkpoint: Checkpoint) -> StoredCheckpoint:
    with contextlib.suppress(FileExistsError):
        store.create(checkpoint_name(checkpoint.size), format_checkpoint(checkpoint).encode())
    return _stored(store, checkpoint)


def _create_signed(store: Store, checkpoint: Checkpoint, signer: Signer) -> StoredCheckpoint:
    with contextlib.suppress(FileExistsError):
        store.create(checkpoint_name(checkpoint.size), sign_note(format_checkpoint(checkpoint), [signer]))
    head = _stored(store, checkpoint)
    if _signed_by(head, [signer.verifier()]):
        return head
    _sign_stored(store, head, signer)
    return _stored(store, checkpoint)


def _stored(store: Store, checkpoint: Checkpoint) -> StoredCheckpoint:
    head = read_checkpoint(store, checkpoint.size)
    if head is None:
        name = f"checkpoints/{checkpoint.size:016d}"
        raise IntegrityError(f"{name} was removed while it was written.", next_step="ledger seal")
    require_agreement(head, checkpoint)
    return head


def require_agreement(stored: StoredCheckpoint | None, calculated: Checkpoint) -> None:
    """Pass if the stored checkpoint, where there is one, says what was calculated. Raises: IntegrityError."""
    if stored is None or stored.checkpoint == calculated:
        return
    stated = stored.checkpoint
    raise IntegrityError(
        f"checkpoints/{stated.size:016d} states {stated.origin}, {stated.size} entries, "
        f"root {stated.root.hex()}; calculated {calculated.origin}, {calculated.size} entries, "
        f"root {calculated.root.hex()}.",
        next_step="ledger verify",
    )


def _signed_by(head: StoredCheckpoint, keys: Sequence[Verifier]) -> bool:
    """Tell whether the checkpoint has a signature by one of the keys. Raises: IntegrityError when one is wrong."""
    if not any(map(head.names, keys)):
        return False
    open_note(head.message, keys)
    return True


def _behind(
    store: Store, size: int, records: Sequence[KeyRecord]
) -> tuple[list[StoredCheckpoint], list[StoredCheckpoint]]:
    """Return the checkpoints below `size` that the ledger's keys signed, nearest first, and the unsigned ones.

    Looks back until `_SIGNED_IN_A_ROW` checkpoints are signed: a rival without the key may have been slow to write
    one. Heads from before the first key's time stay as they are.
    """
    keys = [record.verifier for record in records]
    first = min((r.signed_from for r in records if r.signed_from is not None), default=size)
    signed: list[StoredCheckpoint] = []
    unsigned: list[StoredCheckpoint] = []
    in_a_row = 0
    for head in checkpoints_below(store, below=size):
        if head.checkpoint.size < first or in_a_row == _SIGNED_IN_A_ROW:
            break
        if _signed_by(head, keys):
            signed.append(head)
            in_a_row += 1
        else:
            unsigned.append(head)
            in_a_row = 0
    return signed, unsigned


def _sign_stored(store: Store, head: StoredCheckpoint, signer: Signer) -> None:
    add_lines(store, head, [signer.sign(head.text)])


def add_lines(store: Store, head: StoredCheckpoint, signatures: Sequence[Signature]) -> None:
    """Add signature lines to a stored checkpoint; what others add at the same moment stays.

    A checkpoint that is gone, or says something else by now, is left alone.
    """

    def edit(message: bytes | None) -> bytes | None:
        stored = parse_stored(message) if message is not None else None
        if stored is None or stored.text != head.text:
            return None
        added = add_signatures(stored.message, signatures) if stored.signatures else None
        return added or format_note(stored.text, signatures)

    store.change(checkpoint_name(head.checkpoint.size), edit)
