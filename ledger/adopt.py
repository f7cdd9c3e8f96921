"""A key's owner decides from which checkpoint the key goes on, where it has no memory of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.checkpoint import Checkpoint
from ledger.growth import calculate_head, prove_growth
from ledger.heads import heads_down
from ledger.merkle import EMPTY_ROOT
from ledger.notary import LogSigner, record_key
from ledger.note import open_note
from ledger.signing import last_signed, remember

if TYPE_CHECKING:
    from ledger.handle import Ledger


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
        head = Checkpoint(origin, 0, EMPTY_ROOT)
        if log.size:
            head = calculate_head(ledger.layout, log, origin, log.size)
        for signed in heads_down(ledger.layout, below=log.size + 1):
            if signed.names(key):
                open_note(signed.message, [key])
                prove_growth(ledger.layout, lambda: log, signed.checkpoint, head)
                break
        remember(signer, head)
        return head
