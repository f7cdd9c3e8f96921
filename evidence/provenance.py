"""The sentence that says which entries a document rests on, and under which checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from run_evidence.evidence.document import timestamp
from run_evidence.evidence.words import counted

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix


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
