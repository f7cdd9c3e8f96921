"""What a document is derived from: one prefix of a ledger, its checkpoint, and the payloads kept beside it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import islice
from typing import Any, Final

from run_evidence.evidence.signing import Signing, read_signing
from run_evidence.ledger import (
    NOW,
    RECORDED,
    AsOf,
    Checkpoint,
    EnvironmentFault,
    IntegrityError,
    Ledger,
    Snapshot,
    UsageError,
    calculated_checkpoint,
    checkpoint_sizes,
    look_up,
    one_run,
    open_snapshot,
    read_checkpoint,
    read_records,
    runs_starting_with,
    sealed_size,
    sql_text,
)

_VIEWS: Final = ("amendments", "events", "outcomes", "runs")
"""The ledger's own views that the queries of this package rest on."""

_BENEATH: Final = ("run_rows",)
"""Those that these rest on."""


_HEADS_LOOKED_AT: Final = 16
"""Checkpoints that are read in search of a signed one: a process without the key may have left some unsigned."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A snapshot open for reading, and the checkpoint of the log it shows; `None` when there is none of just that.

    `stored` says whether the checkpoint is a checkpoint of the ledger or was calculated, `signing` who signed it.
    """

    snapshot: Snapshot
    head: Checkpoint | None
    ledger: Ledger
    as_of: AsOf = NOW
    stored: bool = True
    signing: Signing = field(default_factory=Signing)

    def select(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run `sql/<query>.sql` of this package with these parameters and return all rows.

        A query that is given `run_ids` is about those runs alone, and so are the views it rests on.
        """
        return self.snapshot.rows(query_text(query), parameters, runs=parameters.get("run_ids"))

    def payload(self, sha256: str) -> bytes | None:
        """Return a payload that was too large for its entry; `None` when it is gone or not what was recorded."""
        try:
            return self.ledger.payload(sha256)
        except (EnvironmentFault, IntegrityError):
            return None


def query_text(query: str) -> str:
    """Return the text of `sql/<query>.sql` of this package."""
    return files("run_evidence.evidence").joinpath("sql", f"{query}.sql").read_text(encoding="utf-8")


def query_digests(queries: Sequence[str]) -> list[dict[str, str]]:
    """Name the SQL a document was derived with and give its SHA-256, the ledger's views underneath included."""
    texts = {f"evidence/sql/{query}.sql": query_text(query) for query in queries}
    texts |= {f"ledger/sql/{view}.sql": sql_text(view) for view in (*_VIEWS, *_BENEATH)}
    return [
        {"name": name, "sha256": hashlib.sha256(text.encode()).hexdigest()} for name, text in sorted(texts.items())
    ]


@contextlib.contextmanager
def open_prefix(ledger: Ledger, as_of: AsOf = NOW, also: Sequence[str] = ()) -> Iterator[Prefix]:
    """Open the ledger as it is now, unsealed entries included, or the part of it that `as_of` names.

    `also` names views beside those that the documents rest on.

    Raises what `ledger.query.snapshot.open_snapshot` and `ledger.query.prefix.calculated_checkpoint` raise.
    """
    with open_snapshot(ledger, as_of, (*_VIEWS, *also), payloads=False) as snapshot:
        yield _prefix(ledger, snapshot, as_of)


def _prefix(ledger: Ledger, snapshot: Snapshot, as_of: AsOf) -> Prefix:
    if as_of.recorded_by is not None:  # it cuts through the log; no checkpoint is of what is left
        return Prefix(snapshot, None, ledger, as_of)
    if head := read_checkpoint(ledger.store, snapshot.sealed):
        signing = Signing() if as_of.unsigned else read_signing(ledger, head)
        return Prefix(snapshot, head.checkpoint, ledger, as_of, signing=signing)
    if as_of.size:  # somebody wants just these; else the next seal writes the checkpoint that is missing
        head_of_these = calculated_checkpoint(ledger, snapshot.log, as_of.size)
        return Prefix(snapshot, head_of_these, ledger, as_of, stored=False)
    return Prefix(snapshot, None, ledger, as_of)


@contextlib.contextmanager
def sealed_prefix(
    ledger: Ledger, run_id: str | None = None, as_of: AsOf = NOW, also: Sequence[str] = ()
) -> Iterator[Prefix]:
    """Open what a document is derived from: the sealed log, now or as it was; nothing is sealed for the past.

    With a run, the shortest prefix with a checkpoint that has all of the run as of then, a signed one where the
    ledger has a key: its last document is the same however much the ledger has grown since. Without a run, the
    shortest that has all but the records of documents at the end: recording a document makes no other one. `also`
    names views beside those that the documents rest on.

    Raises `UsageError` when the ledger does not know the run, `IntegrityError` when the inbox holds what cannot be
    sealed, or a signature of the checkpoint is wrong.
    """
    size = sealed_size(ledger, as_of) if as_of.past else _seal(ledger)
    size = _covering_size(ledger, run_id, size, signed=not as_of.unsigned)
    exactly = AsOf(size=size, occurred_by=as_of.occurred_by, unsigned=as_of.unsigned)
    with open_prefix(ledger, exactly, also) as prefix:
        if prefix.signing.problem:
            raise IntegrityError(f"Nothing is derived from {prefix.signing.problem}.", next_step="ledger verify")
        yield prefix


def _seal(ledger: Ledger) -> int:
    sealed = ledger.seal()
    if sealed.newer:
        raise EnvironmentFault(
            f"{len(sealed.newer)} objects of the inbox are of a newer program, the first: {sealed.newer[0]}",
            next_step=sealed.next_step,
        )
    if sealed.refused:  # it may hold the very records that would change what the document says
        raise IntegrityError(
            f"{len(sealed.refused)} objects of the inbox cannot be sealed, the first: {sealed.refused[0]}",
            next_step="ledger doctor",
        )
    return sealed.size


def _covering_size(ledger: Ledger, run_id: str | None, sealed: int, *, signed: bool) -> int:
    last = None
    if segments := ledger.log().segments:
        asked = {"size": sealed, "run_id": run_id, "recorded": RECORDED}
        ((last,),) = look_up(segments, query_text("last_index"), asked)
    if last is None and run_id is not None:
        raise unknown_run(run_id, [])
    if last is None:
        return sealed
    covering = [size for size in reversed(checkpoint_sizes(ledger.store)) if last < size <= sealed]
    smallest = covering[0] if covering else sealed
    return next(_signed(ledger, covering), smallest) if signed else smallest


def signed_size_over(ledger: Ledger, index: int, vkey: str) -> int | None:
    """Return the size of the smallest checkpoint over this entry that the key signed; looks at a few."""
    covering = (size for size in reversed(checkpoint_sizes(ledger.store)) if size > index)
    for size in islice(covering, _HEADS_LOOKED_AT):
        head = read_checkpoint(ledger.store, size)
        if head is not None and vkey in read_signing(ledger, head).signed_by:
            return size
    return None


def _signed(ledger: Ledger, sizes: Sequence[int]) -> Iterator[int]:
    """Yield those of the sizes, ascending, whose checkpoint a key of the ledger signed; looks at a few."""
    first = min((r.signed_from for r in read_records(ledger.store) if r.signed_from is not None), default=None)
    if first is None:
        return
    for size in islice((size for size in sizes if size >= first), _HEADS_LOOKED_AT):
        head = read_checkpoint(ledger.store, size)
        if head is not None and read_signing(ledger, head).signed_by:
            yield size


def resolve_run(prefix: Prefix, run_id: str, as_of: str | None = None) -> str:
    """Return the one run whose id starts with `run_id`. Raises `UsageError` when there is none, or several."""
    if (one := one_run(run_id, runs_starting_with(prefix.snapshot, run_id))) is None:
        raise unknown_run(run_id, [row[0] for row in prefix.select("nearest_runs", text=run_id)], as_of)
    return one


def unknown_run(run_id: str, nearest: Sequence[str], as_of: str | None = None) -> UsageError:
    """Say that the ledger has no such run, name the nearest, and what to do."""
    hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
    if as_of is not None:
        return UsageError(
            f"The ledger had no run {run_id!r} as of {as_of}.{hint}",
            next_step=f"ledger runs --as-of {as_of} lists those it had; without --as-of, those it has now",
        )
    return UsageError(
        f"The ledger has no run {run_id!r}.{hint}",
        next_step="ledger runs lists the runs it has; ledger sync captures what it lacks",
    )
