"""Whether a ledger is signed, and by whom, in a sentence: for `status`, `doctor` and documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.checkpoints import newest_checkpoint
from run_evidence.ledger.storage.keyring import KeyRecord, read_records
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint
from run_evidence.ledger.tlog.keys import format_vkey
from run_evidence.ledger.tlog.note import open_note


@dataclass(frozen=True, slots=True)
class SignedState:
    """The newest checkpoint's signatures: by the ledger's own keys, checked, and the names of others, not checked.

    `keys` are the verifier keys the ledger names as its own; `problem` says what does not fit.
    """

    keys: tuple[str, ...] = ()
    signed_by: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def sentence(self) -> str:
        """Say it to a person."""
        if self.problem:
            return self.problem
        if not self.signed_by:
            return "not signed" if not self.keys else f"not signed yet by {self.keys[-1]}"
        also = f", also signed by {', '.join(self.others)} (not checked)" if self.others else ""
        return f"signed by {self.signed_by[-1]}{also}"


def own_signers(head: StoredCheckpoint, records: Sequence[KeyRecord]) -> tuple[str, ...]:
    """Return the verifier keys, of those the ledger names as its own, that signed a head.

    Raises: IntegrityError when one of their signatures is not over this head.
    """
    own = [record.verifier for record in records if head.names(record.verifier)]
    if own:
        open_note(head.message, own)
    return tuple(map(format_vkey, own))


def signed_state(store: Store) -> SignedState:
    """Look at the newest checkpoint's signatures; never raises for what is wrong with them."""
    try:
        records = read_records(store)
        head = newest_checkpoint(store)
    except IntegrityError as error:
        return SignedState(problem=str(error))
    keys = tuple(format_vkey(record.verifier) for record in records)
    if head is None:
        return SignedState(keys)
    own = [record.verifier for record in records if head.names(record.verifier)]
    others = tuple(
        sorted({s.name for s in head.signatures if all((s.name, s.key_id) != (k.name, k.key_id) for k in own)})
    )
    size = head.checkpoint.size
    try:
        signers = own_signers(head, records)
    except IntegrityError as error:
        return SignedState(keys, (), others, f"the checkpoint of {size} entries: {error}")
    if signers:
        return SignedState(keys, signers, others)
    begun = [r for r in records if r.signed_from is not None and size >= r.signed_from]
    if begun:
        problem = f"the checkpoint of {size} entries lacks the signature by {format_vkey(begun[-1].verifier)}"
        return SignedState(keys, (), others, problem)
    return SignedState(keys, (), others)
