"""Checking a proof file with nothing but the keys one trusts: no ledger, no network, no Dagster.

Source: RFC 9162 sections 2.1.3.2 and 2.1.4.2; C2SP tlog-proof, Verifying a tlog proof; docs/format.md, Proof
files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.model.document import RECORDED, recorded_documents
from run_evidence.ledger.model.event import decode_entry
from run_evidence.ledger.model.json_bytes import parse_json
from run_evidence.ledger.proving.check_document import compare_document, number
from run_evidence.ledger.tlog.merkle import leaf_hash
from run_evidence.ledger.tlog.proof import check_consistency, check_inclusion, check_inclusions
from run_evidence.ledger.tlog.proof_file import Inclusion, ProofFile
from run_evidence.ledger.tlog.trust import Trust, TrustedBy, require_trusted


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof file proves. `entries` are (index, exact bytes); `notes` say what it does not prove.

    `compared` counts the statements of a document that were held against an entry. `recorded` says as what the log
    recorded a document: its name, its run, and of how many entries it is.
    """

    origin: str
    size: int
    root: str
    subject: tuple[str, str] | None
    entries: tuple[tuple[int, bytes], ...]
    vouched: TrustedBy
    compared: int = 0
    notes: tuple[str, ...] = ()
    recorded: tuple[str, str, int] | None = None


def check_proof(proof: ProofFile, trust: Trust, document: bytes | None = None) -> Proven:
    """Check the checkpoint, every entry's path to it, and the document, if the proof is about one.

    `document` is the entry itself for a proof of one entry, the report for a proof behind a report.

    Raises: IntegrityError naming what does not hold; UsageError when a document is missing or not expected.
    """
    vouched = require_trusted(proof.head, trust)
    if not proof.inclusions:
        raise IntegrityError("there is no entry in the proof, so it proves nothing of what it is about")
    entries = _checked_entries(proof, document)
    if proof.growth is not None:
        check_consistency(
            proof.growth.path,
            old_size=proof.growth.size,
            new_size=proof.checkpoint.size,
            old_root=proof.growth.root,
            new_root=proof.checkpoint.root,
        )
    compared, notes, recorded = _check_subject(proof, entries, document)
    head, root = proof.checkpoint, proof.checkpoint.root.hex()
    return Proven(head.origin, head.size, root, proof.subject, entries, vouched, compared, tuple(notes), recorded)


def proven_events(proof: ProofFile) -> dict[int, dict[str, Any]]:
    """Return the entries of a proof as events by index: each path leads to the checkpoint, each is an event.

    Raises: IntegrityError naming what does not hold. Who vouches for the checkpoint is for `require_trusted`.
    """
    return {index: _event(index, entry) for index, entry in _checked_entries(proof, None)}


def _checked_entries(proof: ProofFile, document: bytes | None) -> tuple[tuple[int, bytes], ...]:
    if proof.shared is None:
        return tuple(_checked_entry(proof, inclusion, document) for inclusion in proof.inclusions)
    entries = tuple((inclusion.index, inclusion.entry or b"") for inclusion in proof.inclusions)
    leaves = [(index, leaf_hash(entry)) for index, entry in entries]
    for inclusion, (index, leaf) in zip(proof.inclusions, leaves, strict=True):
        if not leaf.hex().startswith(inclusion.mark):
            raise IntegrityError(
                f"entry {index} is not the one that was proved: its leaf hash is {leaf.hex()}, "
                f"expected {inclusion.mark}…"
            )
    check_inclusions(proof.shared, leaves=leaves, size=proof.checkpoint.size, root=proof.checkpoint.root)
    return entries


def _checked_entry(proof: ProofFile, inclusion: Inclusion, document: bytes | None) -> tuple[int, bytes]:
    entry = inclusion.entry
    if proof.subject is None and document is not None:
        entry = _same_entry(document, entry)
    if entry is None:
        raise UsageError(
            "The proof does not carry the entry it is about.", next_step="ledger check PROOF ENTRY_FILE --key VKEY"
        )
    check_inclusion(
        inclusion.path,
        leaf=leaf_hash(entry),
        index=inclusion.index,
        size=proof.checkpoint.size,
        root=proof.checkpoint.root,
    )
    return inclusion.index, entry


def _same_entry(document: bytes, carried: bytes | None) -> bytes:
    """Return the entry a user holds; an editor's final newline is not part of it."""
    entry = document.removesuffix(b"\n")
    if carried is not None and carried not in (entry, document):
        raise IntegrityError(
            f"the document has SHA-256 {_sha256(entry)}, the entry in the proof {_sha256(carried)}"
        )
    return carried if carried is not None else entry


def _check_subject(
    proof: ProofFile, entries: Sequence[tuple[int, bytes]], document: bytes | None
) -> tuple[int, list[str], tuple[str, str, int] | None]:
    if proof.subject is None:
        return 0, [], None
    kind, name = proof.subject
    events = [(index, _event(index, entry)) for index, entry in entries]
    if kind == "run":
        if document is not None:
            raise UsageError(
                "This proof is of a run, not behind a document.", next_step="ledger check PROOF --key VKEY"
            )
        return 0, _check_run(name, events), None
    if document is None:
        raise UsageError("This proof is behind a document.", next_step="ledger check PROOF DOCUMENT --key VKEY")
    if _sha256(document) != name:
        raise IntegrityError(f"the document has SHA-256 {_sha256(document)}, the proof is behind {name}")
    heads = [proof.checkpoint.size, *([proof.growth.size] if proof.growth else [])]
    roots = [proof.checkpoint.root, *([proof.growth.root] if proof.growth else [])]
    known = dict(zip(heads, roots, strict=True))
    compared, notes = compare_document(document, dict(events), proof.checkpoint.origin, known)
    recordings = [event["data"] for _, event in events if _records(event, name)]
    if not recordings:
        raise IntegrityError(
            "nothing in the proof says that the log recorded this document; what it states is nobody's word",
            next_step="ask for a proof made by `ledger prove --file` of the ledger it comes from",
        )
    recorded = _as_recorded(recordings[0], name)
    if recorded and recorded[2] < proof.checkpoint.size:
        notes.append(
            f"the document is of the first {recorded[2]} of {proof.checkpoint.size} entries; whether a later one "
            "of the same run was derived since, this proof does not say"
        )
    return compared, notes, recorded


def _as_recorded(data: Mapping[str, Any], digest: str) -> tuple[str, str, int] | None:
    """Return (name, run, entries) of a document; `None` where its record leaves one of them out."""
    run_id, size = data.get("run_id"), number(data.get("as_of_size"))
    return (recorded_documents(data)[digest], run_id, size) if isinstance(run_id, str) and size else None


def _records(event: dict[str, Any], digest: str) -> bool:
    return event["event_type"] == RECORDED and digest in recorded_documents(event["data"])


def _event(index: int, entry: bytes) -> dict[str, Any]:
    try:
        decode_entry(entry)
    except IntegrityError as error:
        raise IntegrityError(f"entry {index} is in the log and is no event: {error}") from None
    body: dict[str, Any] = parse_json(entry)
    return body


def _check_run(run_id: str, events: Sequence[tuple[int, dict[str, Any]]]) -> list[str]:
    """Hold the entries of a run against the count its closing states; that is what shows none was left out."""
    for index, event in events:
        if event.get("run_id") != run_id:
            raise IntegrityError(f"entry {index} is of run {event.get('run_id')!r}, the proof is of run {run_id!r}")
    closings = [event["data"] for _, event in events if event["event_type"] == "run.closed.v1"]
    if not closings:
        return ["the run is not closed in this proof: entries of it may have been left out or come later"]
    stated = max(number(data.get("ledger_records")) for data in closings)
    records = sum("storage_id" in event for _, event in events)
    if records < stated:
        raise IntegrityError(f"the proof has {records} records of run {run_id}, its closing states {stated}")
    return []


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
