"""Documents as files: each its own, none ever overwritten.

A name says which run or partition, whether the run was closed, the size of the log it was derived from, which keys
had signed the checkpoint of that size, and of a summary the profile that it is by; the content follows from that,
so the same bytes under a name are fine and other bytes are an error. The one file that is replaced is
`<profile>_delivery_summary.md`, the fixed name under which a person looks for it; its content is kept under a name
of its own too, which says which of two is newer. Nothing is written inside a ledger, wherever links lead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.delivery import contract_document, deliveries
from run_evidence.evidence.document import encode_document
from run_evidence.evidence.facts import read_runs
from run_evidence.evidence.markdown import code
from run_evidence.evidence.prefix import Prefix, open_prefix, sealed_prefix, unknown_run
from run_evidence.evidence.profile_choice import DECLARE
from run_evidence.evidence.profile_history import ProfileHistory, declared_profiles, digest_of, history_of
from run_evidence.evidence.recording import record_documents
from run_evidence.evidence.report import report_of
from run_evidence.evidence.summary import derive_delivery_summary, derive_run_summary, heading
from run_evidence.ledger import (
    NOW,
    AsOf,
    EnvironmentFault,
    IntegrityError,
    UsageError,
    create_idempotent,
    make_folder,
    read_regular,
    replace_atomic,
    require_outside,
)

if TYPE_CHECKING:
    from run_evidence.evidence.delivery import Delivery
    from run_evidence.evidence.facts import JudgedRun
    from run_evidence.evidence.profile import DeliveryProfile
    from run_evidence.ledger import Ledger

EVIDENCE: Final = "run_evidence/"
"""Where hand-over documents are, below the folder of a delivery."""

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEPT: Final = (
    r"_([0-9a-f]{12})(?:-of-[0-9a-f]{12})?_([0-9]{1,16})(?:_happened-by-[0-9]+)?_(.+?)(?:_by-[0-9a-f]{8})?\.md"
)


@dataclass(frozen=True, slots=True)
class WrittenDocuments:
    """The files of one run: its report, its hand-over documents by partition (by a profile alone), its summary.

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


def write_run_documents(
    ledger: Ledger,
    run_id: str,
    out_dir: str | Path,
    as_of: AsOf = NOW,
    *,
    profile: DeliveryProfile | ProfileHistory | None = None,
    force: bool = False,
) -> WrittenDocuments:
    """Derive a run's documents, from the ledger sealed now or as it was, and write them below `out_dir`.

    A profile says what the run delivers; without one the profile that the ledger has for the run does. Where it has
    none these are the report and the summary of any run, and where it has several one has to be named.
    They are final when the run is closed in the ledger, else interim, and say so. What is there already is
    left alone. Raises `UsageError` when the ledger does not know the run or `out_dir` is inside a ledger,
    `EnvironmentFault` when a file cannot be written, `IntegrityError` when one is there with other content, which
    `force` replaces.
    """
    out = _Folder(Path(out_dir), ledger.root, force)
    derived = derive_run_documents(ledger, run_id, as_of, profile or _declared_for(ledger, run_id))
    report, *evidence = (out.create(name, content) for name, content in derived.documents.items())
    delivered_by = dict.fromkeys(d.profile for d in derived.deliveries)  # none: the same as without a profile
    by = "".join(f"_{each.name}-{digest_of([each])}" for each in delivered_by)
    summarised = out.create(f"summaries/run_{derived.stem}{by}.md", derived.summary)
    decisions = tuple(d.decision for d in derived.deliveries)
    unrecorded = None
    try:
        record_documents(ledger, run_id, derived.size, derived.documents, tuple(delivered_by))
    except EnvironmentFault as fault:
        unrecorded = str(fault)
    final = derived.facts.final
    return WrittenDocuments(run_id, final, derived.size, report, tuple(evidence), summarised, decisions, unrecorded)


@dataclass(frozen=True, slots=True)
class DerivedDocuments:
    """A run's documents before they are files. `documents` are the report, then those by partition, by their names.

    `size` is the number of entries they were derived from, `stem` the part of their names that says so.
    """

    facts: JudgedRun
    size: int
    stem: str
    documents: Mapping[str, bytes]
    deliveries: tuple[Delivery, ...]
    summary: bytes

    @property
    def report_name(self) -> str:
        """The name of the run evidence report, as hand-over documents state it."""
        return _report_name(self.stem)

    def evidence(self, partition: str) -> bytes:
        """Return the hand-over document of a partition. Raises: KeyError where the run delivers none."""
        return self.documents[_evidence_name(partition, self.stem)]


def derive_run_documents(
    ledger: Ledger, run_id: str, as_of: AsOf, profile: DeliveryProfile | ProfileHistory | None
) -> DerivedDocuments:
    """Derive a run's documents, from the ledger sealed now or as it was; nothing is written and nothing recorded.

    Of a history of profiles the one that holds for the run is taken.

    Raises: UsageError when the ledger does not know the run; what `sealed_prefix` raises.
    """
    with sealed_prefix(ledger, run_id, as_of) as prefix:
        found = read_runs(prefix, [run_id])
        if not found:
            raise unknown_run(run_id, [])
        facts = found[0]
        stem = f"{_safe(run_id)}_{'final' if facts.final else 'interim'}_{_rests_on(prefix)}"
        report_path = _report_name(stem)
        documents = {report_path: encode_document(report_of(prefix, facts))}
        holding = history_of(profile).of_run(facts.row) if profile else None
        handed_over = deliveries(facts, holding) if holding else ()
        for d in handed_over:
            content = contract_document(d, report_path, signed=bool(prefix.signing.signed_by))
            documents[_evidence_name(d.partition, stem)] = encode_document(content)
        summary = derive_run_summary(prefix, facts, handed_over).encode()
        return DerivedDocuments(facts, prefix.snapshot.sealed, stem, documents, handed_over, summary)


def is_evidence_of(name: str, run_id: str, partition: str) -> bool:
    """Tell whether a document's name is that of a hand-over document of the run for the partition."""
    return name.startswith(f"{EVIDENCE}{_safe(partition)}_{_safe(run_id)}_")


def _report_name(stem: str) -> str:
    return f"run_report/{stem}.json"


def _evidence_name(partition: str, stem: str) -> str:
    return f"{EVIDENCE}{_safe(partition)}_{stem}.json"


def write_delivery_summary(
    ledger: Ledger,
    out_dir: str | Path,
    run_ids: Sequence[str] | None = None,
    as_of: AsOf = NOW,
    *,
    profile: DeliveryProfile | ProfileHistory | None = None,
    force: bool = False,
) -> WrittenSummary:
    """Derive the delivery summary over all runs or those named, sealed now or as it was, and write it.

    Without a profile it is of the one delivery that the ledger has declared.
    A summary of the same log that was derived from more of it is not replaced; one that somebody edited is kept
    under a name of its own first. Raises as `write_run_documents`, and `UsageError` without a profile; a file of
    the fixed name that is no delivery summary counts as one with other content.
    """
    out = _Folder(Path(out_dir), ledger.root, force)
    by = history_of(profile) if profile else _the_one_declared(ledger)
    with sealed_prefix(ledger, as_of=as_of) as prefix:
        size = prefix.snapshot.sealed
        then = by.within(size)
        content = derive_delivery_summary(prefix, then, run_ids).encode()
        origin = prefix.head.origin if prefix.head else ""
        rests_on = f"{_subject(origin, run_ids)}_{_rests_on(prefix)}_by-{digest_of(then.profiles)}"
    newest = then.profiles[-1]
    kept = out.create(f"summaries/{newest.summary}_{rests_on}.md", content)
    if as_of != NOW:
        return WrittenSummary(size, None, kept)
    return WrittenSummary(size, _replace_latest(out, newest, content, kept, origin), kept)


def _declared_for(ledger: Ledger, run_id: str) -> ProfileHistory | None:
    """Return the delivery that a run has part in, of those that the ledger has declared; `None` for none.

    Raises: UsageError where there are several: their documents have the same names.
    """
    declared = declared_profiles(ledger)
    if not declared:
        return None
    with open_prefix(ledger) as prefix:
        found = declared.delivering(read_runs(prefix, [run_id]))
    if len(found) > 1:
        raise UsageError(
            f"Run {run_id} has part in several deliveries: {', '.join(each.name for each in found)}.",
            next_step="name one profile, and give each a folder of its own",
        )
    return found[0] if found else None


def _the_one_declared(ledger: Ledger) -> ProfileHistory:
    histories = declared_profiles(ledger).histories
    if len(histories) == 1:
        return histories[0]
    several = f" The ledger has several: {', '.join(each.name for each in histories)}." if histories else ""
    raise UsageError(
        f"A delivery summary needs a delivery profile: only that says what is delivered.{several}",
        next_step=DECLARE,
    )


def write_documents(
    ledger: Ledger,
    names: Sequence[str],
    out_dir: str | Path,
    profile: DeliveryProfile,
    then: Callable[[WrittenDocuments], object] = lambda _: None,
) -> dict[str, str]:
    """Write the documents of the runs of these ids, then the delivery summary; `then` is called for each run.

    Returns what could not be written, and why: a run under its id, the summary under the name of its file. Those
    names can be given again. A run that cannot be written keeps no other from being written.
    """
    failed: dict[str, str] = {}
    for run_id in (name for name in names if name != profile.summary):
        with _noted(failed, run_id):
            then(write_run_documents(ledger, run_id, out_dir, profile=profile))
    if names:
        with _noted(failed, profile.summary):
            write_delivery_summary(ledger, out_dir, profile=profile)
    return failed


@contextmanager
def _noted(failed: dict[str, str], name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the others get their documents
        failed[name] = f"{type(error).__name__}: {error}"


def _rests_on(prefix: Prefix) -> str:
    """Name what a document is derived from: the size of the log, a bound on when things happened, who signed."""
    by = prefix.as_of.occurred_by
    happened = [] if by is None else [f"happened-by-{by}"]
    return "_".join([str(prefix.snapshot.sealed), *happened, prefix.signing.name])


def _subject(origin: str, run_ids: Sequence[str] | None) -> str:
    """Name what a summary is about: the log, and the runs where it is not over all of them."""
    log = _digest(f"{origin}\nall")
    return log if run_ids is None else f"{log}-of-{_digest(chr(10).join(sorted(run_ids)))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _replace_latest(out: _Folder, profile: DeliveryProfile, content: bytes, kept: Path, origin: str) -> Path:
    """Put a summary in the place of the fixed name, unless one of the same log that is newer is there."""
    name, summary = f"{profile.summary}.md", profile.summary
    latest = out.path / name
    there = _read(latest)
    if there is None or there == content or out.force:
        out.replace(name, content)
        return latest
    as_written = bool(_same_as(there, kept.parent, summary))  # and not edited since
    if not as_written and not there.startswith(f"{heading(profile)}\n".encode()):
        raise _other_content(latest)
    ours, found = (_newness(each, kept.parent, summary, origin) for each in (content, there))
    if found is not None and ours is not None and found > ours:
        return latest
    if not as_written:
        digest = hashlib.sha256(there).hexdigest()[:12]
        out.create(f"summaries/{summary}_replaced_{digest}.md", there)
    out.replace(name, content)
    return latest


def _newness(content: bytes, summaries: Path, summary: str, origin: str) -> tuple[int, bool] | None:
    """Return (size, signed) of a summary of this log, for the larger to be the newer; `None` for any other text.

    The name says it under which the same bytes are kept. Where they are not, the line that begins a summary of
    this log does.
    """
    form = re.compile(f"{re.escape(summary)}{_KEPT}")
    names = filter(None, (form.fullmatch(path.name) for path in _same_as(content, summaries, summary)))
    found = [(int(name[2]), name[3] != "unsigned") for name in names if name[1] == _subject(origin, None)]
    if found:
        return max(found)
    line = re.compile(rf"^As of checkpoint ([0-9]{{1,16}}) of {re.escape(code(origin))}\. (Signed)?", re.MULTILINE)
    begins = line.search(content.decode("utf-8", "replace"))
    return (int(begins[1]), begins[2] is not None) if begins else None


def _same_as(content: bytes, summaries: Path, summary: str) -> list[Path]:
    """Return the kept files with these bytes."""
    kept = summaries.glob(f"{summary}_*.md")
    return [path for path in kept if path.stat().st_size == len(content) and path.read_bytes() == content]


def _read(path: Path) -> bytes | None:
    try:
        return read_regular(path, follow=True)
    except FileNotFoundError:
        return None
    except (OSError, IntegrityError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise EnvironmentFault(
            f"{path} cannot be read: {why}", next_step="name another folder, with --out DIR"
        ) from None


def _safe(run_id: str) -> str:
    """Return a run id or a partition as part of a file name; what is no plain name becomes its digest."""
    return run_id if _SAFE.fullmatch(run_id) else hashlib.sha256(run_id.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where documents go; `force` replaces one that is there with other content."""

    path: Path
    ledger: Path
    force: bool

    def create(self, name: str, content: bytes) -> Path:
        """Write a file whose name stands for its content."""
        return self._write(name, content, replace_atomic if self.force else create_idempotent)

    def replace(self, name: str, content: bytes) -> Path:
        """Write a file in the place of what is there."""
        return self._write(name, content, replace_atomic)

    def _write(self, name: str, content: bytes, verb: Callable[[Path, bytes], None]) -> Path:
        path = self.path / name
        require_outside(path, self.ledger)
        try:
            make_folder(path.parent)
            verb(path, content)
        except IntegrityError:
            raise _other_content(path) from None
        except OSError as error:
            raise EnvironmentFault(
                f"{path} cannot be written: {error.strerror or error}.",
                next_step="name a folder that can be written, for example with --out DIR",
            ) from None
        return path


def _other_content(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path} is there with other content than what is derived now; it was left as it is.",
        next_step="it was edited, derived by another version or profile, or had a payload that was erased since: "
        "move it away, name another folder, or replace it with --force",
    )
