"""Making a page: derived from the sealed log, recorded in it, proved under a checkpoint over that record, drawn."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.compare import compare_runs
from run_evidence.evidence.document import Document, encode_document
from run_evidence.evidence.gate import declared_for, gate_within
from run_evidence.evidence.gate_policy import GatePolicy
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.page.document import VIEWS, page_document
from run_evidence.evidence.page.drawing import draw
from run_evidence.evidence.page.index import VIEWS as INDEX_VIEWS
from run_evidence.evidence.page.index import index_document
from run_evidence.evidence.prefix import query_text, sealed_prefix, signed_size_over
from run_evidence.evidence.profile_history import NO_PROFILES
from run_evidence.evidence.recording import record_documents
from run_evidence.ledger import (
    RECORDED,
    AsOf,
    EnvironmentFault,
    IntegrityError,
    UsageError,
    checkpoint_sizes,
    create_idempotent,
    drawn_digests,
    format_proof,
    format_vkey,
    make_folder,
    open_prover,
    open_snapshot,
    read_records,
    replace_atomic,
    require_outside,
    with_proof,
)

if TYPE_CHECKING:
    from run_evidence.evidence.compare import Comparison
    from run_evidence.evidence.gate import Gate
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.evidence.profile_history import Profiles
    from run_evidence.ledger import Ledger, Sealed

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]+")
WHOLE: Final = 20_000
"""Entries up to which a page carries every entry of its runs; above it those that it names."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its bytes, the document in it, of how many entries it is, and whether its checkpoint is signed.

    `sealed` is what the seal of its record did and could not do.
    """

    html: bytes
    document: Document
    size: int
    signed: bool
    sealed: Sealed

    @property
    def name(self) -> str:
        """A file name that says what it is of, and of how many entries."""
        named = _UNSAFE.sub("_", str(self.document["headline"]["named"]))[:100].strip("_")
        return f"{named}_{self.size}.html"


def make_page(
    ledger: Ledger, asked: Asked, profiles: Profiles = NO_PROFILES, policy: GatePolicy | None = None
) -> Page:
    """Make the page of a run, a partition of a product, or a release. Seals, and records the page's document.

    Raises: UsageError for a question that is none; EnvironmentFault when nothing can be recorded; IntegrityError
    for what was altered.
    """
    asked.require_one()
    rules = policy or GatePolicy()
    declared = declared_for(rules, profiles)
    with sealed_prefix(ledger, also=(*declared.views, *VIEWS)) as prefix:
        gate = gate_within(prefix, asked, rules, rules.require, profiles, declared)
        size = prefix.snapshot.sealed
        drawn = page_document(prefix, gate, declared, _changed(prefix, gate))
    return _proved(ledger, drawn, size)


def make_index(ledger: Ledger) -> Page:
    """Make the page of all that a ledger has. Seals, and records the page's document. Raises: as `make_page`."""
    with sealed_prefix(ledger, also=INDEX_VIEWS) as prefix:
        size = prefix.snapshot.sealed
        drawn = index_document(prefix)
    return _proved(ledger, drawn, size)


def _changed(prefix: Prefix, gate: Gate) -> tuple[str, Comparison] | None:
    """Return the run before the only one of a page, of the same job and partition, and what changed since."""
    if len(gate.subject.runs) != 1:
        return None
    run_id = gate.subject.runs[0].row.run_id
    rows = prefix.select("run_before", run_id=run_id)
    if not rows:
        return None
    before = rows[0][0]
    return before, compare_runs(prefix.ledger, before, run_id, AsOf(size=prefix.snapshot.sealed))


def _covering(ledger: Ledger, digest: str) -> int | None:
    """Return the size of the smallest checkpoint over the record of a document, a signed one where there is one."""
    with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
        rows = snapshot.rows(query_text("recorded_at"), {"recorded": RECORDED, "sha256": digest})
    index = next((index for (index,) in rows), None)
    if index is None:
        raise EnvironmentFault(
            "The record of the page could not be sealed.", next_step="ledger seal; ledger doctor"
        )
    keys = [format_vkey(record.verifier) for record in read_records(ledger.store)]
    signed = [size for key in keys if (size := signed_size_over(ledger, index, key)) is not None]
    over = [size for size in checkpoint_sizes(ledger.store) if size > index]
    return min(signed or over, default=None)


def _proved(ledger: Ledger, stated: Document, size: int) -> Page:
    html = draw(stated)
    document = {**stated, "drawn": dict(drawn_digests(html))}
    content = encode_document(document)
    of_runs = [] if stated["kind"] == "index" else stated["runs"]
    about = of_runs[0]["run_id"] if of_runs else ""
    record_documents(ledger, about, size, {f"page/{size}.json": content})
    sealed = ledger.seal()
    with open_prover(ledger, _covering(ledger, hashlib.sha256(content).hexdigest())) as prover:
        whole = bool(of_runs) and sum(run["events"] for run in of_runs) <= WHOLE
        proof = prover.prove_document(content, whole_runs=whole)
    return Page(with_proof(html, content, format_proof(proof)), document, size, bool(proof.head.signatures), sealed)


def write_page(ledger: Ledger, page: Page, target: Path, *, force: bool = False) -> None:
    """Write a page outside of the ledger; the same page again is left alone.

    Raises: UsageError when another file is there and not `force`; EnvironmentFault when it cannot be written.
    """
    require_outside(target, ledger.root)
    try:
        make_folder(target.parent)
        if force:
            replace_atomic(target, page.html)
        else:
            create_idempotent(target, page.html)
    except IntegrityError:
        raise UsageError(
            f"{target} is there with other content.", next_step="name another file, or replace it with --force"
        ) from None
    except OSError as error:
        raise EnvironmentFault(
            f"{target} cannot be written: {error.strerror or error}.", next_step="name another file with -o"
        ) from None
