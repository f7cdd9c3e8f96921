"""Handing over: everything a recipient needs to trust one partition of a product, in one folder.

What is handed over is recorded in the log, with the decision and the digest of the index, and proved under the
first signed checkpoint over that record. The bytes follow from the ledger, the profile and the recipient's name. A
folder that holds an earlier one is brought up to date: what was current moves to `superseded/`.
Source: docs/handover.md.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from run_evidence.evidence.acceptance import accept
from run_evidence.evidence.document import encode_document, timestamp
from run_evidence.evidence.facts import PARENT
from run_evidence.evidence.files import DerivedDocuments, derive_run_documents
from run_evidence.evidence.handover_form import (
    CHECKPOINT,
    EVIDENCE,
    INDEX,
    POLICY,
    PROOF,
    README,
    REPORTS,
    SCHEMA,
    STATEMENT,
    SUPERSEDED,
    SignedOff,
    Stated,
    decision_in_force,
    statement_of,
)
from run_evidence.evidence.markdown import code, table, text
from run_evidence.evidence.prefix import open_prefix, sealed_prefix, signed_size_over
from run_evidence.evidence.profile_history import history_of
from run_evidence.evidence.recording import record_documents, record_handover
from run_evidence.evidence.refusal import Refused
from run_evidence.evidence.sign_off import read_sign_offs
from run_evidence.evidence.summary import runs_by_partition
from run_evidence.ledger import (
    IN_TOTO,
    NOW,
    RECORDED,
    TMP_PREFIX,
    AsOf,
    EnvironmentFault,
    IntegrityError,
    LedgerError,
    UsageError,
    format_envelope,
    format_proof,
    format_vkey,
    make_folder,
    open_prover,
    read_regular,
    recorded_documents,
    replace_atomic,
    require_outside,
)

if TYPE_CHECKING:
    from run_evidence.evidence.profile import DeliveryProfile
    from run_evidence.evidence.profile_history import ProfileHistory
    from run_evidence.ledger import Ledger, Signer

_ALWAYS: Final = frozenset({README, INDEX, EVIDENCE, STATEMENT, POLICY, CHECKPOINT, PROOF})
_ANOTHER: Final = "name an empty folder with --out DIR, or the one of this product, partition and recipient"


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a folder holds now. `changed` is false where it held just this before; `superseded` counts documents.

    `decision` is that of the evidence, `in_force` the one that counts: `hold` where a person holds the delivery.
    """

    folder: Path
    decision: str
    in_force: str
    run_id: str
    final: bool
    superseded: int
    vkey: str
    changed: bool


@dataclass(frozen=True, slots=True)
class _Document:
    """A hand-over document that another takes the place of; `content` is `None` where nobody has it any more.

    Of a run that cannot be read nothing but its id is known.
    """

    run_id: str
    sha256: str | None = None
    status: str | None = None
    decision: str | None = None
    content: bytes | None = None

    @property
    def name(self) -> str | None:
        return None if self.content is None else f"{SUPERSEDED}/{_sha256(self.content)[:16]}.json"


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A hand-over that the log records: the entry, the digest of its index, and what it states."""

    index: int
    index_sha256: str
    run_id: str
    evidence_sha256: str
    status: str
    decision: str
    as_of_size: int
    to: str | None


def hand_over(
    ledger: Ledger,
    profile: DeliveryProfile | ProfileHistory,
    partition: str,
    out_dir: str | Path,
    *,
    to: str | None = None,
) -> HandedOver:
    """Write the hand-over of a partition of the profile's product to a folder; the ledger is sealed and signed.

    Of a history of profiles each run's documents are derived by the one that holds for the run.

    The latest run that planned the partition counts, of those that planned the product. Deriving, recording and
    writing the same again changes nothing.

    Raises: UsageError when no run planned the partition, this process cannot sign, or the folder holds something
    else; IntegrityError when a run that counts cannot be read, or what was written is not accepted by the ledger's
    own key; EnvironmentFault when a file cannot be written.
    """
    signer, folder = _signer(ledger), Path(out_dir)
    require_outside(folder / INDEX, ledger.root)
    origin = ledger.require()
    by = history_of(profile)
    vkey = format_vkey(signer.verifier())
    *before_it, run_id = _runs(ledger, by, partition)
    earlier = {each: _derived_if_sound(ledger, each, NOW, by) for each in before_it}
    current = derive_run_documents(ledger, run_id, NOW, by)
    stated = _stated(current, partition, to)
    before = _present(folder, origin, stated.product, partition, to)
    for derived in (*filter(None, earlier.values()), current):
        delivered_by = tuple(dict.fromkeys(d.profile for d in derived.deliveries))
        record_documents(ledger, derived.facts.row.run_id, derived.size, derived.documents, delivered_by)
    known = _recorded(ledger, stated.product, partition)
    superseded = list(_superseded(ledger, by, stated, earlier, known, before))
    signed_off = _signed_off(ledger, current, partition)
    in_force = decision_in_force(stated.decision, signed_off)
    files = _files(current, stated, superseded, signed_off, signer, origin)
    files[INDEX] = _index(files, current, stated, superseded, signed_off, origin, vkey)
    newest = [each.index_sha256 for each in known if each.to == to][-1:]
    if newest == [_sha256(files[INDEX])] and before.get(INDEX) == files[INDEX] and _holds(folder, vkey):
        return HandedOver(folder, stated.decision, in_force, run_id, stated.final, len(superseded), vkey, False)
    record_handover(ledger, stated, files[INDEX], newest)  # what stands again is recorded again, as the newest
    files |= _proved(ledger, files[INDEX], current, stated, signed_off, vkey)
    _write(folder, files, before)
    accept(folder, vkey)  # what this ledger's own key does not accept is handed over to nobody
    return HandedOver(folder, stated.decision, in_force, run_id, stated.final, len(superseded), vkey, True)


def _derived_if_sound(ledger: Ledger, run_id: str, as_of: AsOf, profile: ProfileHistory) -> DerivedDocuments | None:
    """Derive the documents of a run that is superseded; `None` where its payloads are gone or damaged."""
    try:
        return derive_run_documents(ledger, run_id, as_of, profile)
    except (LedgerError, KeyError, TypeError, ValueError):
        return None


def _holds(folder: Path, vkey: str) -> bool:
    try:
        accept(folder, vkey)
    except Refused:
        return False
    return True


def _signer(ledger: Ledger) -> Signer:
    """Return the ledger's private key: without one nothing of a hand-over can be accepted by a key."""
    ledger.require()
    found = ledger.signing_setup.signer(ledger.store) if ledger.signing_setup else None
    if found is None:
        raise UsageError(
            "A hand-over is accepted by the ledger's key, and this process has none to sign it with.",
            next_step="ledger key new, if the ledger is not signed yet; else where the key is, or with LEDGER_KEY",
        )
    return found.key


def _runs(ledger: Ledger, by: ProfileHistory, partition: str) -> list[str]:
    """Return the runs that planned the partition, the one that counts last; sealed and signed."""
    profile = by.profiles[-1]
    if not profile.delivers(partition):
        raise UsageError(
            f"The delivery {profile.name} has no partition {partition!r}.",
            next_step=f"name one of the form {profile.partitions}",
        )
    with sealed_prefix(ledger) as prefix:
        runs, damaged = runs_by_partition(prefix, by)
    if damaged:
        run_id, problem = min(damaged.items())
        raise IntegrityError(
            f"Nobody knows what run {run_id} planned, so nothing is handed over: {problem}",
            next_step="ledger verify",
        )
    if partition not in runs:
        near = ", ".join(sorted(runs)[-3:])
        raise UsageError(
            f"No run planned partition {partition} of {profile.product}."
            + (f" The latest: {near}." if near else ""),
            next_step="ledger sync captures what the ledger lacks; then hand over",
        )
    return runs[partition]


def _stated(current: DerivedDocuments, partition: str, to: str | None) -> Stated:
    found = [delivery for delivery in current.deliveries if delivery.partition == partition]
    if not found:
        raise IntegrityError(
            f"The outcomes of run {current.facts.row.run_id} have nothing of {partition}, which it planned.",
            next_step="ledger verify",
        )
    profile = found[0].profile
    return Stated(
        product=profile.product,
        partition=partition,
        contract=profile.contract,
        run_id=current.facts.row.run_id,
        final=current.facts.final,
        status=found[0].status,
        decision=found[0].decision,
        evidence_sha256=_sha256(current.evidence(partition)),
        as_of_size=current.size,
        to=to,
    )


def _signed_off(ledger: Ledger, current: DerivedDocuments, partition: str) -> SignedOff | None:
    """Return the sign-off of the delivery that stands: sealed, and not lapsed."""
    delivery = next(each for each in current.deliveries if each.partition == partition)
    with sealed_prefix(ledger) as prefix:
        (found,) = read_sign_offs(prefix, [delivery])
    if found is None or found.index is None or found.lapsed:
        return None
    reason = str(found.said["reason"])
    return SignedOff(found.index, found.decision, found.actor, reason, timestamp(found.signed_at))


def _recorded(ledger: Ledger, product: str, partition: str) -> list[_Recorded]:
    """Return what was handed over of a partition before, as the log records it, in its order."""
    with open_prefix(ledger) as prefix:
        rows = prefix.select("handovers", recorded=RECORDED, product=product, partition=partition)
    return list(filter(None, (_read_recorded(index, orjson.loads(data)) for index, data in rows)))


def _read_recorded(index: int | None, data: Mapping[str, Any]) -> _Recorded | None:
    said = data["handover"]
    digests = [digest for digest, name in recorded_documents(data).items() if name == INDEX]
    names = ("run_id", "evidence_sha256", "status", "decision", "as_of_size")
    if index is None or len(digests) != 1 or not all(name in said for name in names):
        return None
    stated = {name: said[name] for name in names}
    return _Recorded(index=index, index_sha256=digests[0], to=said.get("to"), **stated)


def _superseded(
    ledger: Ledger,
    by: ProfileHistory,
    stated: Stated,
    earlier: Mapping[str, DerivedDocuments | None],
    known: Sequence[_Recorded],
    before: Mapping[str, bytes],
) -> Iterator[_Document]:
    """Yield what the current document takes the place of, each once: of earlier runs, then handed over before."""
    seen = {stated.evidence_sha256}
    for run_id, derived in earlier.items():
        if derived is None:
            yield _Document(run_id)
            continue
        for delivery in (each for each in derived.deliveries if each.partition == stated.partition):
            content = derived.evidence(stated.partition)
            digest = _sha256(content)
            if digest not in seen:
                seen.add(digest)
                yield _Document(run_id, digest, delivery.status, delivery.decision, content)
    kept = {_sha256(content): content for content in before.values()}
    for each in known:
        if each.evidence_sha256 not in seen:
            seen.add(each.evidence_sha256)
            again = _derived_if_sound(ledger, each.run_id, AsOf(size=each.as_of_size), by)
            derived_now = again.documents.values() if again else ()
            found = {_sha256(content): content for content in derived_now} | kept
            content_of = found.get(each.evidence_sha256)
            yield _Document(each.run_id, each.evidence_sha256, each.status, each.decision, content_of)


def _files(
    current: DerivedDocuments,
    stated: Stated,
    superseded: Sequence[_Document],
    signed_off: SignedOff | None,
    signer: Signer,
    origin: str,
) -> dict[str, bytes]:
    """Return the files that the index lists."""
    evidence, vkey = current.evidence(stated.partition), format_vkey(signer.verifier())
    statement = json.dumps(statement_of(stated, orjson.loads(evidence)), sort_keys=True).encode()
    return {
        EVIDENCE: evidence,
        current.report_name: current.documents[current.report_name],
        STATEMENT: format_envelope(IN_TOTO, statement, signer),
        POLICY: f"log {vkey}\nquorum none\n".encode(),  # C2SP tlog-policy
        README: _readme(stated, superseded, signed_off, origin, vkey, current.report_name).encode(),
        **{each.name: each.content for each in superseded if each.name and each.content is not None},
    }


def _index(
    files: Mapping[str, bytes],
    current: DerivedDocuments,
    stated: Stated,
    superseded: Sequence[_Document],
    signed_off: SignedOff | None,
    origin: str,
    vkey: str,
) -> bytes:
    document = orjson.loads(current.evidence(stated.partition))
    return encode_document(
        {
            "handover_schema_version": SCHEMA,
            **stated.members(),
            "reason_codes": document["reason_codes"],
            "log": {"origin": origin, "key_id": vkey.split("+")[1], "verifier_key": vkey},
            "sign_off": asdict(signed_off) if signed_off else None,
            "current": EVIDENCE,
            "files": [
                {"name": name, "sha256": _sha256(content), "size_bytes": len(content)}
                for name, content in sorted(files.items())
            ],
            "supersedes": [
                {
                    "run_id": each.run_id,
                    "sha256": each.sha256,
                    "status": each.status,
                    "decision": each.decision,
                    "file": each.name,
                }
                for each in superseded
            ],
        }
    )


def _proved(
    ledger: Ledger,
    index: bytes,
    current: DerivedDocuments,
    stated: Stated,
    signed_off: SignedOff | None,
    vkey: str,
) -> dict[str, bytes]:
    """Seal, and return the proof and the checkpoint: the smallest over the record that the key signed."""
    sealed = ledger.seal()
    digest = _sha256(index)
    at = [each.index for each in _recorded(ledger, stated.product, stated.partition) if each.index_sha256 == digest]
    size = signed_size_over(ledger, max(at), vkey) if at else None
    if size is None:
        problems = "; ".join(problem for _, problem in sealed.problems)
        raise EnvironmentFault(
            f"No checkpoint over the record of this hand-over is signed by {vkey}. {problems}".rstrip(),
            next_step=sealed.next_step or "ledger seal, and then again",
        )
    with open_prover(ledger, size) as prover:
        runs = (stated.run_id, *dict.fromkeys(filter(None, _ancestry(current))))
        proof = prover.prove_recorded(
            index, [stated.evidence_sha256], runs, [signed_off.entry] if signed_off else []
        )
    return {CHECKPOINT: proof.head.message, PROOF: format_proof(proof)}


def _ancestry(current: DerivedDocuments) -> Iterator[str | None]:
    """Yield the runs that this one re-executes, as far as what it inherits comes from them."""
    if current.facts.inherited:
        yield current.facts.tags.get(PARENT)
        yield current.facts.tags.get("dagster/root_run_id")


def _present(folder: Path, origin: str, product: str, partition: str, to: str | None) -> dict[str, bytes]:
    """Return the files of a folder that holds this hand-over, an earlier one, or what a kill left of one.

    Raises: UsageError when it holds something else.
    """
    try:
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]
        foreign = [name for name in names if not _is_ours(name)]
        found = {name: read_regular(folder / name) for name in names if not foreign}
        index = orjson.loads(found[INDEX]) if INDEX in found else None
        mine = index and (index["log"]["origin"], index["product"], index["partition"], index.get("to"))
    except (OSError, IntegrityError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} cannot be read as a hand-over: {error}", next_step=_ANOTHER) from None
    begun = all(name.startswith(SUPERSEDED) or TMP_PREFIX in name for name in found)
    if foreign or not (mine == (origin, product, partition, to) or (index is None and begun)):
        what = f": {min(foreign)}" if foreign else ""
        raise UsageError(f"{folder} holds something else than this hand-over{what}.", next_step=_ANOTHER)
    return found


def _is_ours(name: str) -> bool:
    """Return whether a file can be one of a hand-over, or one that was being written when a process was killed."""
    folder, _, rest = name.rpartition("/")
    if rest.startswith(TMP_PREFIX):
        return folder in {"", REPORTS, SUPERSEDED}
    return name in _ALWAYS or (folder in {REPORTS, SUPERSEDED} and rest.endswith(".json"))


def _write(folder: Path, files: Mapping[str, bytes], before: Mapping[str, bytes]) -> None:
    """Write each file whole: first what is superseded, so that nothing is lost, then the index, the proof last.

    What is not of it any more is removed. Whoever reads in between finds a hand-over that does not hold, never one
    that holds and is wrong.
    """
    first, last = (SUPERSEDED, INDEX), (CHECKPOINT, PROOF)
    order = sorted(files, key=lambda name: (name in last, not name.startswith(first), name == INDEX, name))
    try:
        for name in order:
            path = folder / name
            make_folder(path.parent)
            if before.get(name) != files[name]:
                replace_atomic(path, files[name])
        for name in before.keys() - files.keys():
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename or folder} cannot be written: {error.strerror or error}.",
            next_step="name a folder that can be written with --out DIR",
        ) from None


def _readme(
    stated: Stated,
    superseded: Sequence[_Document],
    signed_off: SignedOff | None,
    origin: str,
    vkey: str,
    report_name: str,
) -> str:
    """Tell the recipient what to read first and how to check it."""
    for_whom = f" for {text(stated.to)}" if stated.to else ""
    in_force = decision_in_force(stated.decision, signed_off)
    state = "" if stated.final else " The run is open in the ledger: this is interim."
    files = [
        [code(EVIDENCE), f"what your program reads: the evidence, by the contract {code(stated.contract)}"],
        [code(INDEX), "what is in this folder, each file with its SHA-256, and what this supersedes"],
        [code(report_name), "the run evidence report, which the evidence names: for whoever asks why"],
        [code(STATEMENT), "the same evidence as an in-toto statement in a signed DSSE envelope"],
        [code(PROOF), "that the log recorded the index, the evidence, and the run's outcomes"],
        [code(CHECKPOINT), "the signed head of the log that the proof leads to"],
        [code(POLICY), "whom to trust, as a C2SP tlog-policy; compare it with the key that you were given"],
    ]
    lines = [
        f"# {code(stated.product)}, partition {code(stated.partition)}: {code(in_force)}",
        "",
        f"Hand-over{for_whom} of run {code(stated.run_id)}, status {code(stated.status)}.{state}",
        f"From the log {code(origin)}.",
        *([f"Signed off: {text(signed_off.sentence)}"] if signed_off else []),
        *([f"The evidence says {code(stated.decision)}."] if in_force != stated.decision else []),
        "",
        "**Check it before you read on**: nothing in this folder is to be believed before, this page neither.",
        "",
        "```text",
        f"ledger accept FOLDER --partition {_typed(stated.partition)} --key VKEY",
        "```",
        "",
        f"VKEY is the verifier key that you were given by another way; its id is `{vkey.split('+')[1]}` if it is",
        "the one that signed this. The command needs no ledger and no network. It prints the decision, or refuses",
        "and names what is wrong. Where only Python and `cryptography` are installed, `run-evidence-check` has it",
        "as `ledger-check accept`.",
        "",
        "## Files",
        *table(["file", "what it is"], files),
        "",
        "## What it supersedes",
    ]
    if not superseded:
        return "\n".join([*lines, "Nothing: it is the first of this partition.", ""])
    rows = [
        [
            code(each.run_id),
            code(each.decision) if each.decision else "cannot be read",
            code(each.name) if each.name else "not kept",
        ]
        for each in superseded
    ]
    return "\n".join([*lines, *table(["run", "decision", "file"], rows), ""])


def _typed(partition: str) -> str:
    """Write a partition as a shell takes it; one that a page cannot show is for the reader to put in."""
    return shlex.quote(partition) if partition.isprintable() and "`" not in partition else "PARTITION"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
