"""A key's owner decides from which checkpoint the key goes on, where it has no memory of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.checkpoint import Checkpoint
from ledger.errors import IntegrityError
from ledger.growth import calculate_from_entries
from ledger.heads import heads_down
from ledger.merkle import EMPTY_ROOT
from ledger.notary import LogSigner, record_key
from ledger.note import open_note
from ledger.signing import last_signed, remember

if TYPE_CHECKING:
    from ledger.handle import Ledger
    from ledger.keys import Verifier
    from ledger.layout import Layout


def adopt(ledger: Ledger, signer: LogSigner, *, forget: bool = False) -> Checkpoint:
    """Make the key one of the ledger's, and return the checkpoint it goes on from.

    What the key remembers of this log stays, unless `forget`. Where it remembers nothing, it is the last checkpoint
    in the ledger that it signed, else the log as it is now, proved to extend every checkpoint the key signed.

    Raises: NotALedgerError; UsageError for a witness's key; IntegrityError when the log is not what was signed;
    OSError when the memory cannot be written.
    """
    origin = ledger.require()
    key = signer.key.verifier()
    record_key(ledger.layout, key)
    signer.memory.create()
    with signer.memory.held():
        if forget:
            signer.memory.forget(origin)
        before = last_signed(signer, origin)
        log = ledger.log()
        if before is not None:
            return before
        signed = _last_in_ledger(ledger.layout, key, log.size) or Checkpoint(origin, 0, EMPTY_ROOT)
        beneath, head = calculate_from_entries(log, origin, signed.size, log.size)  # tiles may be of another log
        if beneath != signed:
            raise IntegrityError(
                f"The log's first {signed.size} entries have root {beneath.root.hex()}, this key signed "
                f"{signed.root.hex()}: history was rewritten. Nothing was remembered.",
                next_step="ledger verify",
            )
        remember(signer, head)
        return head


def _last_in_ledger(layout: Layout, key: Verifier, size: int) -> Checkpoint | None:
    """Return the largest stored checkpoint of up to `size` entries that the key signed."""
    for head in heads_down(layout, below=size + 1):
        if head.names(key):
            open_note(head.message, [key])
            return head.checkpoint
    return None
