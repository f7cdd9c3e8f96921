"""What a document rests on, in words: which entries, under which tree head, and who signed that.

A checkpoint may be signed after a document was derived from it. So who signed is part of what a document is
derived from, and of its file's name: the document that says "not signed" stays true of the checkpoint as it was,
and the one that names the key is another file. Witnesses' cosignatures come later still, and are not spoken of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evidence.document import timestamp
from evidence.words import counted, listed
from ledger import IntegrityError
from ledger.notary import read_records
from ledger.signed_state import own_signers

if TYPE_CHECKING:
    from evidence.prefix import Prefix
    from ledger.heads import Head
    from ledger.layout import Layout


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


def read_signing(layout: Layout, head: Head) -> Signing:
    """Read who signed a stored head; never raises for what is wrong with a signature."""
    try:
        return Signing(tuple(sorted(own_signers(head, read_records(layout)))))
    except IntegrityError as error:
        return Signing(problem=f"the checkpoint of {head.checkpoint.size} entries: {error}")


def read_from(prefix: Prefix, shown: Callable[[object], str] = str) -> str:
    """Say which entries were read; `shown` puts the log's name into the form of the document."""
    head, sealed, by = prefix.head, prefix.snapshot.sealed, prefix.as_of.recorded_by
    if head is not None and prefix.stored:
        where = f"As of checkpoint {head.size} of {shown(head.origin)}"
    elif head is not None:
        where = f"As of the first {head.size} entries of {shown(head.origin)}, where no checkpoint was written"
    elif by is not None:
        where = f"Read from what was recorded by {timestamp(by)}, which is the prefix of no checkpoint"
    elif sealed:
        where = f"Read from {sealed} sealed entries that no checkpoint covers yet"
    else:
        where = "Read from entries that are not sealed, so nothing proves it yet"
    if prefix.snapshot.unsealed and by is None and sealed:
        where += f" and {counted(prefix.snapshot.unsealed, 'entry that is', 'entries that are')} not sealed"
    if prefix.as_of.occurred_by is not None:
        where += f", of these what had happened by {timestamp(prefix.as_of.occurred_by)}"
    return where
