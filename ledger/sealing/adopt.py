"""A key's owner decides from which checkpoint the key goes on, where it has no memory of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.sealing.signing import last_signed, remember
from run_evidence.ledger.storage.checkpoints import checkpoints_below
from run_evidence.ledger.storage.consistency import calculate_from_entries
from run_evidence.ledger.storage.keyring import LogSigner, record_key
from run_evidence.ledger.storage.log import open_log
from run_evidence.ledger.tlog.checkpoint import Checkpoint
from run_evidence.ledger.tlog.merkle import EMPTY_ROOT
from run_evidence.ledger.tlog.note import open_note

if TYPE_CHECKING:
    from run_evidence.ledger.storage.store import Store
    from run_evidence.ledger.tlog.keys import Verifier


def adopt(store: Store, origin: str, signer: LogSigner, *, forget: bool = False) -> Checkpoint:
    """Make the key one of the ledger's, and return the checkpoint it goes on from.

    What the key remembers of this log stays, unless `forget`. Where it remembers nothing, it is the last checkpoint
    in the ledger that it signed, else the log as it is now, proved to extend every checkpoint the key signed.

    Raises: UsageError for a witness's key; IntegrityError when the log is not what was signed;
    OSError when the memory cannot be written.
    """
    key = signer.key.verifier()
    record_key(store, key)
    signer.memory.create()
    with signer.memory.held():
        if forget:
            signer.memory.forget(origin)
        before = last_signed(signer, origin)
        log = open_log(store)
        if before is not None:
            return before
        signed = _last_in_ledger(store, key, log.size) or Checkpoint(origin, 0, EMPTY_ROOT)
        beneath, head = calculate_from_entries(log, origin, signed.size, log.size)  # tiles may be of another log
        if beneath != signed:
            raise IntegrityError(
                f"The log's first {signed.size} entries have root {beneath.root.hex()}, this key signed "
                f"{signed.root.hex()}: history was rewritten. Nothing was remembered.",
                next_step="ledger verify",
            )
        remember(signer, head)
        return head


def _last_in_ledger(store: Store, key: Verifier, size: int) -> Checkpoint | None:
    """Return the largest stored checkpoint of up to `size` entries that the key signed."""
    for head in checkpoints_below(store, below=size + 1):
        if head.names(key):
            open_note(head.message, [key])
            return head.checkpoint
    return None
