"""The log records the digest of every document that is handed over, so that a changed one is no document of it.

A hand-over document states conclusions (a decision, counts, a status) that no single entry says. Whoever checks one
has no ledger to derive it from again. So the ledger records what was derived from it, as an event like any other,
and a proof behind a document carries that event. Source: docs/adr/0010-a-document-is-recorded.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from run_evidence.evidence.handover_form import INDEX
from run_evidence.evidence.profile_data import profile_digest
from run_evidence.ledger import RECORDED, Event, Json, open_snapshot, recorded_documents, sql_text

if TYPE_CHECKING:
    from run_evidence.evidence.handover_form import Stated
    from run_evidence.evidence.profile import DeliveryProfile
    from run_evidence.ledger import Ledger


def record_documents(
    ledger: Ledger,
    run_id: str,
    as_of_size: int,
    documents: Mapping[str, bytes],
    by: Sequence[DeliveryProfile] = (),
) -> bool:
    """Append the digests of documents, by name, unless all of them are recorded; return whether it did.

    The profiles that they were derived `by` are named beside them, each with its digest.

    The event belongs to no run: a run's documents are derived from its own entries, and stay the same.

    Raises: EnvironmentFault when nothing can be appended.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in documents.items()}
    with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
        rows = snapshot.rows(sql_text("documents_of_run"), {"run_id": run_id})
    known = {digest for (data,) in rows for digest in recorded_documents(data)}
    if known >= set(digests.values()):
        return False
    told: list[Json] = [
        {"name": name, "sha256": digests[name], "size_bytes": len(content)}
        for name, content in sorted(documents.items())
    ]
    data: dict[str, Json] = {"run_id": run_id, "as_of_size": as_of_size, "documents": told}
    if by:
        data["profiles"] = [{"name": profile.name, "sha256": profile_digest(profile)} for profile in by]
    ledger.append([Event(event_type=RECORDED, occurred_at=ledger.clock(), data=data)])
    return True


def record_handover(ledger: Ledger, stated: Stated, index: bytes, known: Collection[str]) -> bool:
    """Append what is handed over, with the digest of its index, unless that is `known`; return whether it did.

    Raises: EnvironmentFault when nothing can be appended.
    """
    digest = hashlib.sha256(index).hexdigest()
    if digest in known:
        return False
    documents: list[Json] = [{"name": INDEX, "sha256": digest, "size_bytes": len(index)}]
    data: dict[str, Json] = {
        "as_of_size": stated.as_of_size,
        "documents": documents,
        "handover": stated.members(),
    }
    ledger.append([Event(event_type=RECORDED, occurred_at=ledger.clock(), data=data)])
    return True
