"""Documents as files: each its own, none ever overwritten.

A name says which run or partition, whether the run was closed, the size of the log it was derived from, and which
keys had signed the checkpoint of that size; the content follows from that, so the same bytes under a name are fine
and other bytes are an error. The one file that is replaced is `week06_delivery_summary.md`, which the hand-over
contract gives a fixed name; its content is kept under a name of its own too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evidence.document import encode_document
from evidence.facts import read_runs
from evidence.prefix import Prefix, sealed_prefix, unknown_run
from evidence.recording import record_documents
from evidence.report import report_of
from evidence.summary import derive_delivery_summary, derive_run_summary
from evidence.week06 import contract_document, deliveries
from ledger import EnvironmentFault, IntegrityError
from ledger.as_of import NOW, AsOf
from ledger.store import create_idempotent, make_folder, replace_atomic

if TYPE_CHECKING:
    from ledger import Ledger

DELIVERY_SUMMARY: Final = "week06_delivery_summary.md"

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SIZE: Final = re.compile(r"^As of checkpoint ([0-9]{1,16}) of `([^`]+)`\. (Signed)?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class WrittenDocuments:
    """The files of one run: its report, its hand-over documents by partition (of Week06 alone), its summary.

    `unrecorded` says why the ledger could not record their digests, so that nobody can prove them.
    """

    run_id: str
    final: bool
    size: int
    report: Path
    evidence: tuple[Path, ...]
    summary: Path
    decisions: tuple[str, ...]
    unrecorded: str | None = None


@dataclass(frozen=True, slots=True)
class WrittenSummary:
    """The delivery summary: where it is found, where this very text stays, and the size of the log it is of.

    `latest` is `None` for a summary of the past, which does not take the place of the newest.
    """

    size: int
    latest: Path | None
    kept: Path


def write_run_documents(ledger: Ledger, run_id: str, out_dir: str | Path, as_of: AsOf = NOW) -> WrittenDocuments:
    """Derive a run's documents, from the ledger sealed now or as it was, and write them below `out_dir`.

    They are final when the run is closed in the ledger, else interim, and say so. What is there already is
    left alone. Raises `UsageError` when the ledger does not know the run, `EnvironmentFault` when a file
    cannot be written, `IntegrityError` when one is there with other content.
    """
    out = Path(out_dir)
    with sealed_prefix(ledger, run_id, as_of) as prefix:
        found = read_runs(prefix, [run_id])
        if not found:
            raise unknown_run(run_id, [])
        facts = found[0]
        size = prefix.snapshot.sealed
        stem = f"{_safe(run_id)}_{'final' if facts.final else 'interim'}_{_rests_on(prefix)}"
        report_path = f"run_report/{stem}.json"
        documents = {report_path: encode_document(report_of(prefix, facts))}
        handed_over = deliveries(facts)
        for d in handed_over:
            content = contract_document(d, report_path, signed=bool(prefix.signing.signed_by))
            documents[f"run_evidence/{d.partition}_{stem}.json"] = encode_document(content)
        report, *evidence = (_create(out, name, content) for name, content in documents.items())
        summary = _create(out, f"summaries/run_{stem}.md", derive_run_summary(prefix, facts).encode())
    decisions = tuple(d.decision for d in handed_over)
    unrecorded = None
    try:
        record_documents(ledger, run_id, size, documents)
    except EnvironmentFault as fault:
        unrecorded = str(fault)
    return WrittenDocuments(run_id, facts.final, size, report, tuple(evidence), summary, decisions, unrecorded)


def write_delivery_summary(
    ledger: Ledger, out_dir: str | Path, run_ids: Sequence[str] | None = None, as_of: AsOf = NOW
) -> WrittenSummary:
    """Derive the delivery summary over all runs or those named, sealed now or as it was, and write it.

    A summary of the same log that was derived from more of it is not replaced. Raises as `write_run_documents`.
    """
    out = Path(out_dir)
    with sealed_prefix(ledger, as_of=as_of) as prefix:
        content = derive_delivery_summary(prefix, run_ids)
        size = prefix.snapshot.sealed
        name = f"summaries/week06_delivery_summary_{_subject(prefix, run_ids)}_{_rests_on(prefix)}.md"
    kept = _create(out, name, content.encode())
    if as_of != NOW:
        return WrittenSummary(size, None, kept)
    latest = out / DELIVERY_SUMMARY
    if not _is_older(content, latest):
        _write(latest, content.encode(), replace_atomic)
    return WrittenSummary(size, latest, kept)


def _rests_on(prefix: Prefix) -> str:
    """Name what a document is derived from: the size of the log, a bound on when things happened, who signed."""
    by = prefix.as_of.occurred_by
    happened = [] if by is None else [f"happened-by-{by}"]
    return "_".join([str(prefix.snapshot.sealed), *happened, prefix.signing.name])


def _subject(prefix: Prefix, run_ids: Sequence[str] | None) -> str:
    """Name what a summary is about, so that one of another log or other runs has another file."""
    about = "\n".join(
        [prefix.head.origin if prefix.head else "", *(["all"] if run_ids is None else sorted(run_ids))]
    )
    return hashlib.sha256(about.encode()).hexdigest()[:12]


def _is_older(content: str, latest: Path) -> bool:
    """Tell whether the summary in place is of the same log and derived from more of it, or since signed."""
    try:
        there = _SIZE.search(latest.read_text(encoding="utf-8"))
    except OSError:
        return False
    ours = _SIZE.search(content)
    if not there or not ours or there[2] != ours[2]:
        return False
    return (int(there[1]), there[3] or "") > (int(ours[1]), ours[3] or "")


def _safe(run_id: str) -> str:
    """Return a run id as part of a file name; Dagster's are UUIDs, and any other text becomes its digest."""
    return run_id if _SAFE.fullmatch(run_id) else hashlib.sha256(run_id.encode()).hexdigest()


def _create(out: Path, name: str, content: bytes) -> Path:
    path = out / name
    _write(path, content, create_idempotent)
    return path


def _write(path: Path, content: bytes, verb: Callable[[Path, bytes], None]) -> None:
    try:
        make_folder(path.parent)
        verb(path, content)
    except IntegrityError:
        raise IntegrityError(
            f"{path} is there with other content than what is derived now; it was left as it is.",
            next_step="it was edited, derived by another version, or had a payload that was erased since: "
            "move it away, or name another folder",
        ) from None
    except OSError as error:
        raise EnvironmentFault(
            f"{path} cannot be written: {error.strerror or error}.",
            next_step="name a folder that can be written, for example with --out DIR",
        ) from None
