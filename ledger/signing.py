"""Writing tree heads: a head is signed only after the last signed one was proved to be a prefix of it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from ledger.checkpoint import Checkpoint, format_checkpoint
from ledger.errors import IntegrityError
from ledger.growth import prove_growth
from ledger.heads import Head, heads_down, read_head
from ledger.keys import Signer, Verifier
from ledger.layout import Layout
from ledger.log import load
from ledger.notary import KeyRecord, read_records, record_signed_from
from ledger.note import add_signatures, format_note, open_note, sign_note
from ledger.store import create_exclusive, replace_atomic

_SIGNED_IN_A_ROW: Final = 8


def write_head(layout: Layout, checkpoint: Checkpoint, signer: Signer | None) -> Head:
    """Write the head of this size, signed if there is a key; one that is there already must say the same.

    An unsigned head that is there gets its signature, and so do those before it that a process without the
    key has left unsigned. Two processes that do this at once write the same bytes.

    Raises: IntegrityError when the stored head says something else, a signature by this key is wrong, or the
    last signed head is not a prefix of this one: a log must not sign two heads that contradict each other.
    Source: C2SP tlog-checkpoint, Signatures.
    """
    if signer is None:
        return _create(layout, checkpoint)
    key = signer.verifier()
    records = read_records(layout)
    stored = read_head(layout, checkpoint.size)
    require_agreement(stored, checkpoint)
    signed, unsigned = _behind(layout, checkpoint.size, records)
    if stored is None or unsigned or not _signed_by(stored, [key]):
        for old in (*unsigned, *signed[:1]):
            prove_growth(layout, lambda: load(layout.log), old.checkpoint, checkpoint)
    if KeyRecord(key) in records:
        # Before the signature: a crash in between leaves a head that is missed, not one that nobody expects.
        record_signed_from(layout, key, checkpoint.size)
    for head in unsigned:
        _sign_stored(layout, head, signer)
    return _create_signed(layout, checkpoint, signer)


def _create(layout: Layout, checkpoint: Checkpoint) -> Head:
    with contextlib.suppress(FileExistsError):
        create_exclusive(layout.checkpoint(checkpoint.size), format_checkpoint(checkpoint).encode())
    return _stored(layout, checkpoint)


def _create_signed(layout: Layout, checkpoint: Checkpoint, signer: Signer) -> Head:
    with contextlib.suppress(FileExistsError):
        create_exclusive(layout.checkpoint(checkpoint.size), sign_note(format_checkpoint(checkpoint), [signer]))
    head = _stored(layout, checkpoint)
    if _signed_by(head, [signer.verifier()]):
        return head
    _sign_stored(layout, head, signer)
    return _stored(layout, checkpoint)


def _stored(layout: Layout, checkpoint: Checkpoint) -> Head:
    head = read_head(layout, checkpoint.size)
    if head is None:
        name = f"checkpoints/{checkpoint.size:016d}"
        raise IntegrityError(f"{name} was removed while it was written.", next_step="ledger seal")
    require_agreement(head, checkpoint)
    return head


def require_agreement(stored: Head | None, calculated: Checkpoint) -> None:
    """Pass if the stored head, where there is one, says what was calculated. Raises: IntegrityError."""
    if stored is None or stored.checkpoint == calculated:
        return
    stated = stored.checkpoint
    raise IntegrityError(
        f"checkpoints/{stated.size:016d} states {stated.origin}, {stated.size} entries, "
        f"root {stated.root.hex()}; calculated {calculated.origin}, {calculated.size} entries, "
        f"root {calculated.root.hex()}.",
        next_step="ledger verify",
    )


def _signed_by(head: Head, keys: Sequence[Verifier]) -> bool:
    """Tell whether the head has a signature by one of the keys. Raises: IntegrityError when one is wrong."""
    if not any(map(head.names, keys)):
        return False
    open_note(head.message, keys)
    return True


def _behind(layout: Layout, size: int, records: Sequence[KeyRecord]) -> tuple[list[Head], list[Head]]:
    """Return the heads below `size` that the ledger's keys signed, nearest first, and the unsigned among them.

    Looks back until `_SIGNED_IN_A_ROW` heads are signed: a rival without the key may have been slow to write
    one. Heads from before the first key's time stay as they are.
    """
    keys = [record.verifier for record in records]
    first = min((r.signed_from for r in records if r.signed_from is not None), default=size)
    signed: list[Head] = []
    unsigned: list[Head] = []
    in_a_row = 0
    for head in heads_down(layout, below=size):
        if head.checkpoint.size < first or in_a_row == _SIGNED_IN_A_ROW:
            break
        if _signed_by(head, keys):
            signed.append(head)
            in_a_row += 1
        else:
            unsigned.append(head)
            in_a_row = 0
    return signed, unsigned


def _sign_stored(layout: Layout, head: Head, signer: Signer) -> None:
    signature = signer.sign(head.text)
    signed = add_signatures(head.message, [signature]) if head.signatures else format_note(head.text, [signature])
    replace_atomic(layout.checkpoint(head.checkpoint.size), signed)
