"""Accepting a hand-over with nothing but a key: no ledger, no network, no package but `cryptography`.

The decision that comes back is the one in an entry of the log, proved under a checkpoint that the key signed. That
entry has the digest of the index, the index the digest of every other file; what files say is compared with it and
never believed. A closed run's outcomes are proved too, so evidence in which a skip passes is refused even where the
log has recorded it. Source: docs/handover.md.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from run_evidence.evidence.accepted_memory import AcceptedMemory, Remembered
from run_evidence.evidence.handover_form import (
    CHECKPOINT,
    EVIDENCE,
    INDEX,
    PROOF,
    PROVED_OTHERWISE,
    SCHEMA,
    SIGNED_OFF,
    STATED,
    STATEMENT,
    SignedOff,
    Stated,
    decision_in_force,
    read_stated,
    statement_of,
)
from run_evidence.evidence.profile import HELD, HOLDING_BACK, PROCEED
from run_evidence.evidence.refusal import Refused
from run_evidence.ledger import (
    IN_TOTO,
    RECORDED,
    EnvironmentFault,
    IntegrityError,
    ProofFile,
    Trust,
    UsageError,
    check_proof,
    open_envelope,
    parse_json,
    parse_proof,
    proven_events,
    read_regular,
    read_trust,
    recorded_documents,
    require_trusted,
    rfc3339,
)

_MAX_FILES: Final = 10_000
_MAX_INDEX_BYTES: Final = 1 << 24
_MAX_EVIDENCE_BYTES: Final = 1 << 26
_MAX_PROOF_BYTES: Final = 1 << 28
_CHECK_STATUS: Final = {"check_passed": "passed", "check_warned": "warning", "check_failed": "failed"}
"""What evidence says of a check by its outcome; of any other outcome it says `skipped`."""
_WHICH_ONE: Final = frozenset({"product", "partition", "partition_key", "run_id"})
"""What is compared first: that a file is of another partition says more than that its counts differ."""
_ABSENT: Final = "(absent)"
_CORRECTIONS: Final = "ledger_amendments"

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A hand-over that is sound. `decision` is the recorded one; `proceeds` says whether to build on the partition.

    `sign_off` is a person's decision on it, where there is one: hold counts, whatever the evidence says.

    `evidence` is the contract's document. `origin`, `size` and `signed_by` are of the checkpoint that the proof
    leads to, `recorded_at` is the index of the entry. `supersedes` has what this takes the place of.
    """

    decision: str
    proceeds: bool
    status: str
    product: str
    partition: str
    to: str | None
    run_id: str
    final: bool
    evidence: Mapping[str, Any]
    origin: str
    size: int
    recorded_at: int
    signed_by: tuple[str, ...]
    cosigned_by: tuple[tuple[str, int], ...]
    sign_off: SignedOff | None
    supersedes: tuple[Mapping[str, Any], ...] = field(repr=False)

    def meets(self, required: str | None) -> bool:
        """Return whether the decision is the one required or a milder one, and nobody holds the delivery back.

        `proceed` stands for any contract's own word, as in a gate. Any decision meets `None`.
        """
        if required is None or (self.sign_off is not None and self.sign_off.holds):
            return required is None
        order = (PROCEED, *HOLDING_BACK)
        decided = self.decision if self.decision in HOLDING_BACK else PROCEED
        if required not in order:
            return self.decision == required
        return order.index(decided) <= order.index(required)

    @property
    def lines(self) -> list[str]:
        """What a person reads of it."""
        state, whom = "" if self.final else ", interim", f", for {self.to}" if self.to else ""
        in_force = decision_in_force(self.decision, self.sign_off)
        but = "" if in_force == self.decision else f"; the evidence says {self.decision}"
        return [
            f"{in_force}: {self.product} {self.partition}{whom}, {self.status}, run {self.run_id}{state}{but}",
            f"recorded as entry {self.recorded_at} of {self.origin}, proved under {self.size} entries",
            *([f"signed off: {self.sign_off.sentence}"] if self.sign_off else []),
            *(f"signed by {key}" for key in self.signed_by),
            *(f"cosigned by {key}" for key, _ in self.cosigned_by),
            *(f"supersedes {each.get('decision')} of run {each.get('run_id')}" for each in self.supersedes),
        ]


def accept(
    path: str | Path,
    key: str | Sequence[str],
    *,
    product: str | None = None,
    partition: str | None = None,
    to: str | None = None,
    origin: str | None = None,
    witness_keys: Sequence[str] = (),
    memory: str | Path | None = None,
) -> Accepted:
    """Verify the hand-over in a folder by the log's verifier key (or one of several), and return its decision.

    `product`, `partition`, `to` and `origin` say which hand-over is wanted: a whole one of another day is genuine,
    and not what was asked for. Each of `witness_keys` has to have cosigned. `memory` is a folder that remembers, of
    each log, product and partition, what was accepted last: an older one is refused then.

    Raises: Refused naming file, member, what was expected and what is there; UsageError for what is no verifier
    key; EnvironmentFault when a file or the memory cannot be read.
    """
    trust = read_trust([key] if isinstance(key, str) else key, witness_keys, origin=origin)
    if not trust.logs:
        raise UsageError("A hand-over is accepted by a key.", next_step="give the verifier key of the log")
    folder = _Folder(Path(path))
    proof = _read_proof(folder)
    vouched = _require_vouched(proof, trust)
    try:
        events = proven_events(proof)
    except (IntegrityError, UsageError) as error:
        raise Refused("proof_invalid", str(error), file=PROOF) from None
    recorded_at, stated = _recorded(folder, proof, events)
    _require_wanted(stated, {"product": product, "partition": partition, "to": to})
    try:
        check_proof(proof, trust, folder.index_bytes)  # all that anybody checks of a proof, with any tool
    except (IntegrityError, UsageError) as error:
        raise Refused("proof_invalid", str(error), file=PROOF) from None
    supersedes = _require_files(folder)
    evidence = _evidence(folder, stated, trust)
    _require_recorded_evidence(stated, events)
    if stated.final or stated.decision not in HOLDING_BACK:
        _require_derived(stated, evidence, events)
    sign_off = _sign_off(folder, stated, events)
    head = proof.checkpoint
    if memory is not None:
        signed_in = sign_off.entry if sign_off else None
        last = Remembered(recorded_at, stated.evidence_sha256, head.size, head.root.hex(), signed_in)
        AcceptedMemory(Path(memory)).advance((head.origin, stated.product, stated.partition), last)
    return Accepted(
        decision=stated.decision,
        proceeds=decision_in_force(stated.decision, sign_off) not in {*HOLDING_BACK, HELD},
        status=stated.status,
        product=stated.product,
        partition=stated.partition,
        to=stated.to,
        run_id=stated.run_id,
        final=stated.final,
        evidence=evidence,
        origin=head.origin,
        size=head.size,
        recorded_at=recorded_at,
        signed_by=vouched.signed_by,
        cosigned_by=vouched.cosigned_by,
        sign_off=sign_off,
        supersedes=supersedes,
    )


class _Folder:
    """The files of a hand-over: regular files alone, no links, none of more bytes than the index says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.names = frozenset(_files_below(path, ""))
        except NotADirectoryError:
            raise Refused("file_not_regular", f"{path} is no folder") from None
        except OSError as error:
            raise EnvironmentFault(
                f"{path} cannot be read: {error.strerror or error}.", next_step="name the folder of a hand-over"
            ) from None
        self.index_bytes = self.read(INDEX, _MAX_INDEX_BYTES)
        self.index = _json_object(self.index_bytes, INDEX)
        if self.index.get("handover_schema_version") != SCHEMA:
            got = self.index.get("handover_schema_version")
            raise _malformed(INDEX, "handover_schema_version", SCHEMA, got)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's bytes. Raises: Refused when it is missing, or has more."""
        if name not in self.names:
            raise Refused("file_missing", "the file is not there", file=name)
        path = self.path / name
        try:
            size = path.stat(follow_symlinks=False).st_size
            content = read_regular(path, max_bytes=max_bytes) if size <= max_bytes else b""
        except IntegrityError as error:
            raise Refused("file_not_regular", str(error), file=name) from None
        except OSError as error:
            raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}.") from None
        if size > max_bytes:
            raise Refused("file_too_large", "it has more bytes", file=name, expected=max_bytes, got=size)
        return content


def _files_below(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the names of everything in a hand-over's folder; of its two folders, of what is in them."""
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            name = f"{prefix}{entry.name}"
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and not prefix:
                yield from _files_below(folder / entry.name, f"{name}/")
            elif not stat.S_ISREG(mode):
                raise Refused("file_not_regular", "it is a link, a folder, a pipe or a device", file=name)
            elif number >= _MAX_FILES:
                raise Refused("file_unexpected", f"there are more than {_MAX_FILES} files", file=name)
            else:
                yield name


def _read_proof(folder: _Folder) -> ProofFile:
    content = folder.read(PROOF, _MAX_PROOF_BYTES)
    try:
        proof = parse_proof(content)
    except IntegrityError as error:
        raise Refused("file_malformed", str(error), file=PROOF) from None
    if folder.read(CHECKPOINT, _MAX_INDEX_BYTES) != proof.head.message:
        raise Refused(
            "checkpoint_differs",
            "it is not the checkpoint that the proof ends with",
            file=CHECKPOINT,
            expected=f"{proof.checkpoint.size} entries of {proof.checkpoint.origin}",
        )
    return proof


def _require_vouched(proof: ProofFile, trust: Trust) -> Any:
    """Return who vouches for the checkpoint, of those that are trusted."""
    head = proof.head
    try:
        return require_trusted(head, trust)
    except IntegrityError as error:
        problem = str(error)
    if trust.origin is not None and head.checkpoint.origin != trust.origin:
        got = head.checkpoint.origin
        raise Refused("log_differs", "another log", file=CHECKPOINT, expected=trust.origin, got=got)
    if not head.signatures:
        code = "checkpoint_not_signed"
    elif not any(head.names(key) for key in trust.logs):
        code = "key_differs"
    elif trust.witnesses and not all(head.names(key) for key in trust.witnesses):
        code = "not_cosigned"
    else:
        code = "signature_invalid"
    raise Refused(code, problem, file=CHECKPOINT) from None


def _recorded(folder: _Folder, proof: ProofFile, events: Mapping[int, Event]) -> tuple[int, Stated]:
    """Return the entry that records this hand-over, and what that states; the index has to state the same."""
    digest = hashlib.sha256(folder.index_bytes).hexdigest()
    found = [
        (index, event["data"], recorded_documents(event["data"]).get(digest) == INDEX)
        for index, event in sorted(events.items())
        if event["event_type"] == RECORDED and isinstance(event["data"].get("handover"), dict)
    ]
    if not found:
        raise Refused("not_recorded", "no entry in the proof records a hand-over", file=PROOF)
    index, data, same = next((each for each in found if each[2]), found[-1])
    try:
        recorded = read_stated(data["handover"])
    except ValueError as error:
        raise Refused(
            "not_recorded", f"entry {index} records no hand-over", file=PROOF, member=f"$.{error}"
        ) from None
    expected, origin = recorded.members(), proof.checkpoint.origin
    if difference := _difference(origin, _member(folder.index, "log").get("origin"), "$.log.origin"):
        raise Refused("log_differs", f"entry {index} is of another log", INDEX, *difference)
    if difference := _difference(expected, {n: folder.index[n] for n in STATED if n in folder.index}, "$"):
        raise Refused("file_changed", f"entry {index} of the log records something else", INDEX, *difference)
    if not same or proof.subject != ("document", digest):
        of = proof.subject[1] if proof.subject else None
        raise Refused("not_recorded", "the log has recorded no index of this digest", INDEX, None, of, digest)
    if not recorded.as_of_size <= index:
        expected_size = f"at most {index}"
        raise _malformed(INDEX, "as_of_size", expected_size, recorded.as_of_size)
    return index, recorded


def _require_wanted(stated: Stated, wanted: Mapping[str, str | None]) -> None:
    for name, value in wanted.items():
        if value is not None and getattr(stated, name) != value:
            problem = "it is a hand-over of something else than what was asked for"
            raise Refused(f"{name}_differs", problem, INDEX, f"$.{name}", value, getattr(stated, name))


def _require_files(folder: _Folder) -> tuple[Mapping[str, Any], ...]:
    """Hold every file but the evidence against the index, which says the digest of each; returns `supersedes`.

    The evidence is compared value by value, so that the one that was changed is named.
    """
    listed = {}
    for number, each in enumerate(_list(folder.index, "files")):
        name, digest, size = (each.get(n) for n in ("name", "sha256", "size_bytes"))
        if not isinstance(name, str) or not isinstance(digest, str) or type(size) is not int:
            raise _malformed(INDEX, f"files[{number}]", "name, sha256, size_bytes", each)
        listed[name] = (digest, size)
    if unexpected := folder.names - listed.keys() - set(PROVED_OTHERWISE):
        raise Refused("file_unexpected", "the index does not list it", file=min(unexpected))
    for name, (digest, size) in sorted(listed.items()):
        if name == EVIDENCE:
            continue
        got = hashlib.sha256(folder.read(name, size)).hexdigest()
        if got != digest:
            raise Refused("file_changed", "its SHA-256 is not the recorded one", name, None, digest, got)
    return tuple(_list(folder.index, "supersedes"))


def _evidence(folder: _Folder, stated: Stated, trust: Trust) -> Mapping[str, Any]:
    """Return the evidence; each value is the one in the statement, whose digest is recorded and which is signed."""
    content = folder.read(EVIDENCE, _MAX_EVIDENCE_BYTES)
    try:
        statement = _json_object(
            open_envelope(folder.read(STATEMENT, _MAX_PROOF_BYTES), IN_TOTO, trust.logs), STATEMENT
        )
    except Refused:
        raise
    except IntegrityError as error:
        raise Refused("signature_invalid", str(error), file=STATEMENT) from None
    known = _member(_member(statement, "predicate"), "evidence")
    if difference := _difference(statement_of(stated, known), statement, "$"):
        raise Refused("record_differs", "the statement is not of this hand-over", STATEMENT, *difference)
    digest = hashlib.sha256(content).hexdigest()
    if digest != stated.evidence_sha256:
        difference = _difference(known, _json_object(content, EVIDENCE), "$")
        where = difference or (None, stated.evidence_sha256, digest)
        raise Refused("file_changed", "it is not the evidence that the log recorded", EVIDENCE, *where)
    evidence = _json_object(content, EVIDENCE)
    said = {
        "evidence_schema_version": stated.contract,
        "run_id": stated.run_id,
        "partition_key": stated.partition,
        "status": stated.status,
        "downstream_decision": stated.decision,
    }
    if difference := _difference({**evidence, **said}, evidence, "$") or _difference(evidence, known, "$"):
        raise Refused("record_differs", "it does not say what the log recorded of it", EVIDENCE, *difference)
    return evidence


def _require_recorded_evidence(stated: Stated, events: Mapping[int, Event]) -> None:
    """Pass if the log recorded the evidence as a document of its run, derived from as many entries as stated."""
    for event in events.values():
        data = event["data"]
        of = (event["event_type"], data.get("run_id"), data.get("as_of_size"))
        wanted = (RECORDED, stated.run_id, stated.as_of_size)
        if of == wanted and stated.evidence_sha256 in recorded_documents(data):
            return
    problem = f"the log has not recorded it as a document of run {stated.run_id} and {stated.as_of_size} entries"
    raise Refused("not_recorded", problem, EVIDENCE, None, stated.evidence_sha256)


def _sign_off(folder: _Folder, stated: Stated, events: Mapping[int, Event]) -> SignedOff | None:
    """Return the sign-off that the index tells; the entry that it names has to say the same of this delivery."""
    told = folder.index.get("sign_off")
    if told is None:
        return None
    entry = _member(folder.index, "sign_off").get("entry")
    event = events.get(entry) if type(entry) is int else None
    if type(entry) is not int or event is None or event["event_type"] != SIGNED_OFF:
        raise Refused(
            "not_recorded", "no entry in the proof is this sign-off", INDEX, "$.sign_off.entry", None, entry
        )
    data = event["data"]
    texts = {name: str(data.get(name)) for name in ("decision", "actor", "reason")}
    found = SignedOff(entry, **texts, signed_at=rfc3339(event["occurred_at"], "microseconds"))
    if difference := _difference(asdict(found), told, "$.sign_off"):
        raise Refused("record_differs", f"entry {entry} says otherwise", INDEX, *difference)
    about = {"product": stated.product, "partition": stated.partition, "run_id": stated.run_id}
    if difference := _difference(about, {name: data.get(name) for name in about}, "$"):
        raise Refused("record_differs", f"the sign-off in entry {entry} is of another delivery", INDEX, *difference)
    return found


def _require_derived(stated: Stated, evidence: Mapping[str, Any], events: Mapping[int, Event]) -> None:
    """Compare checks and product with the outcomes that the log recorded when the runs were closed."""
    derived = _derived(stated, events)
    own = derived.get(stated.run_id)
    if own is None:
        raise Refused("not_derived", "nothing proves the run's outcomes", PROOF, None, stated.run_id)
    others = [outcome for run_id, outcomes in derived.items() if run_id != stated.run_id for outcome in outcomes]
    of_run, inherited, told = _by_check(own), _by_check(others), _checks_of(evidence)
    for identity, places in told.items():
        mine = of_run.get(identity, [])
        wanted = {*mine, *(inherited.get(identity, []) if len(places) > len(mine) else [])}
        for path, status in places:
            if status not in wanted:
                problem = f"the log says otherwise what came of check {identity[0]} of {identity[1]}"
                expected = " or ".join(sorted(wanted)) or None
                raise Refused("record_differs", problem, EVIDENCE, path, expected, status)
    for identity, statuses in of_run.items():
        if left_out := Counter(statuses) - Counter(status for _, status in told.get(identity, [])):
            problem = f"check {identity[0]} of {identity[1]} is left out"
            raise Refused("record_differs", problem, EVIDENCE, "$.checks", min(left_out), _ABSENT)
    if stated.decision not in HOLDING_BACK:
        _require_fit(stated, told, [*own, *others])


_Check = tuple[str, str]
"""A check's name and asset key."""


def _by_check(outcomes: Sequence[Event]) -> dict[_Check, list[str]]:
    """Return the status that evidence has to say of each check, of one of several partitions once each."""
    found: dict[_Check, list[str]] = {}
    for outcome in (each for each in outcomes if each.get("kind") == "check"):
        identity = str(outcome.get("check_name")), str(outcome.get("asset_key"))
        found.setdefault(identity, []).append(_CHECK_STATUS.get(str(outcome.get("outcome")), "skipped"))
    return found


def _checks_of(evidence: Mapping[str, Any]) -> dict[_Check, list[tuple[str, str]]]:
    """Return (path, status) of each check that the evidence tells."""
    found: dict[_Check, list[tuple[str, str]]] = {}
    for position, check in enumerate(_list(evidence, "checks")):
        if check.get("name") != _CORRECTIONS:
            identity = str(check.get("name")), str(_member(check, "metadata").get("asset_key"))
            found.setdefault(identity, []).append((f"$.checks[{position}].status", str(check.get("status"))))
    return found


def _require_fit(stated: Stated, told: Mapping[_Check, list[tuple[str, str]]], outcomes: Sequence[Event]) -> None:
    """Pass if the log says that the product was made and that every check passed: else nothing may proceed."""
    made = [o for o in outcomes if o.get("asset_key") == stated.product and o.get("kind") != "check"]
    became = made[0].get("outcome") if made else None
    wrong = [f"product {became}"] if became != "materialized" else []
    wrong += [f"{name} {status}" for (name, _), of in told.items() for _, status in of if status != "passed"]
    if wrong or not stated.final:
        got = ", ".join(wrong) or "an open run"
        problem = f"{stated.decision} takes a closed run, the product and every check passed"
        raise Refused("not_fit", problem, EVIDENCE, "$.downstream_decision", "a decision that holds back", got)


def _derived(stated: Stated, events: Mapping[int, Event]) -> dict[str, list[Event]]:
    """Return each run's outcomes, of this partition or of none, as of the entries the evidence was derived from.

    Of each run the last revision that is whole: a closing without all of its parts proves nothing.
    """
    parts: dict[tuple[str, int], dict[int, Event]] = {}
    for index, event in events.items():
        if event["event_type"] == "outcomes.derived.v1" and index < stated.as_of_size:
            data = event["data"]
            revision, part = (value if type(value := data.get(n)) is int else 0 for n in ("revision", "part"))
            parts.setdefault((str(event.get("run_id")), revision), {})[part] = data
    newest: dict[str, list[Event]] = {}
    for (run_id, _), found in sorted(parts.items()):
        newest.pop(run_id, None)
        if all(data.get("parts") == len(found) for data in found.values()):
            of_all = [outcome for _, data in sorted(found.items()) for outcome in _list(data, "outcomes")]
            newest[run_id] = [o for o in of_all if o.get("partition") in {None, stated.partition}]
    return newest


def _difference(expected: Any, got: Any, path: str) -> tuple[str, Any, Any] | None:
    """Return the first place where two JSON values differ, with both; `None` where they do not."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in sorted({*expected, *got}, key=lambda each: (each not in _WHICH_ONE, each)):
            inside = f"{path}.{name}"
            if name not in expected or name not in got:
                return inside, expected.get(name, _ABSENT), got.get(name, _ABSENT)
            if difference := _difference(expected[name], got[name], inside):
                return difference
        return None
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True))
        return next(filter(None, (_difference(a, b, f"{path}[{i}]") for i, (a, b) in pairs)), None)
    same = type(expected) is type(got) and expected == got  # 1 is equal to true
    return None if same else (path, expected, got)


def _json_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = parse_json(content)
    except ValueError as error:
        raise Refused("file_malformed", f"it is not JSON: {error}", file=name) from None
    if not isinstance(value, dict):
        raise Refused("file_malformed", "it is JSON, but not an object", file=name)
    return value


def _member(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _list(value: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = value.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _malformed(name: str, member: str, expected: object, got: object) -> Refused:
    return Refused(
        "file_malformed", "it is no hand-over that this program reads", name, f"$.{member}", expected, got
    )
