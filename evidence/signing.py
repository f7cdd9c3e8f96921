"""Who signed the checkpoint a document was derived from.

A checkpoint may be signed after a document was derived from it. So who signed is part of what a document is
derived from, and of its file's name: the document that says "not signed" stays true of the checkpoint as it was,
and the one that names the key is another file. Witnesses' cosignatures come later still and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from run_evidence.evidence.words import listed
from run_evidence.ledger import IntegrityError, own_signers, read_records

if TYPE_CHECKING:
    from run_evidence.ledger import Ledger, StoredCheckpoint


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signed a checkpoint: keys the ledger names as its own, sorted, each signature checked.

    `problem` says what is wrong with a signature, or with the notes of the keys.
    """

    signed_by: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def sentence(self) -> str:
        """Say it to a person."""
        return self.problem or (f"signed by {listed(self.signed_by)}" if self.signed_by else "not signed")

    @property
    def name(self) -> str:
        """Say it in a file's name: the ids of the keys, so that another signature makes another file."""
        key_ids = [vkey.split("+")[1] for vkey in self.signed_by]
        return "-".join(["signed", *key_ids]) if key_ids else "unsigned"


def read_signing(ledger: Ledger, head: StoredCheckpoint) -> Signing:
    """Read who signed a stored checkpoint; never raises for what is wrong with a signature."""
    try:
        return Signing(tuple(sorted(own_signers(head, read_records(ledger.store)))))
    except IntegrityError as error:
        return Signing(problem=f"the checkpoint of {head.checkpoint.size} entries: {error}")
