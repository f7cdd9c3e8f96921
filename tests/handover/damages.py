"""What is done to hand-overs, and with which code, file and member each is refused: the table of docs/handover.md.

`python -m tests.handover.damages` writes it.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from pipelines.delivery import WEEK06
from run_evidence.evidence import Accepted, Refused, accept, hand_over, handover
from run_evidence.evidence.document import encode_document
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.profile_history import profiles_of
from run_evidence.evidence.sign_off import sign_off
from run_evidence.ledger import Ledger
from run_evidence.ledger.tlog.dsse import IN_TOTO, format_envelope
from run_evidence.ledger.tlog.keys import Signer, format_vkey
from run_evidence.ledger.tlog.note import sign_note
from tests.evidence.evidence_runs import (
    AFTER,
    DAY,
    FACT,
    GATE,
    LAKE_ABSENT,
    RAW,
    START,
    Story,
    dry_run,
    good_run,
    planned,
    planned_check,
)
from tests.ledger.samples import Clock
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, VKEY, own_signing_setup, signed_ledger

PAGE: Final = Path(__file__).parents[2] / "docs" / "handover.md"
START_MARK: Final = "<!-- Made by `python -m tests.handover.damages`; edit that. -->\n"
END_MARK: Final = "<!-- end -->\n"
DRY, GOOD, NEXT = (f"5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a1{n}" for n in range(3))
NEXT_DAY: Final = "2026-04-18"
TO: Final = "week07"
ONE_TERABYTE: Final = 1 << 40


def next_days_run(run_id: str = NEXT) -> Story:
    """Tell a good run of the day after."""
    made = [planned(key, NEXT_DAY) for key in (GATE, RAW, FACT)]
    items = (*made, planned_check("row_count_output_count", FACT), LAKE_ABSENT)
    story = Story(run_id, start=START + 2 * 10**9).plan(items, AFTER)
    for key in (GATE, RAW, FACT):
        story.made(key, NEXT_DAY, output_row_count=7)
    return story.checked("row_count_output_count", FACT).end().close()


@dataclass(frozen=True)
class World:
    """Hand-overs in folders of their own: what a recipient, or somebody in between, may hold."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> World:
        """Hand over a dry run, the good run that supersedes it, other days, other logs, and what was made up."""
        world = cls(root)
        ledger = signed_ledger(root / "ledger", [7])
        ledger.append(dry_run(DRY).events)
        hand_over(ledger, WEEK06, DAY, root / "current", to=TO)
        shutil.copytree(root / "current", root / "older")
        ledger.append([*good_run(GOOD, start=START + 10**9).events, *next_days_run().events])
        hand_over(ledger, WEEK06, DAY, root / "current", to=TO)
        hand_over(ledger, WEEK06, NEXT_DAY, root / "next day", to=TO)
        hand_over(ledger, WEEK06, DAY, root / "of another recipient", to="week08")
        for name, signer, origin in (("key", OTHER_KEY, LOG_KEY.name), ("log", LOG_KEY, "example.com/another")):
            world._elsewhere(f"of another {name}", signer, origin)
        world._held()
        world._made_up("a skip that passes", skip_passes, "dry_run_only")
        world._made_up("a dry run that says proceed", lambda _body: None, "proceed_to_week07")
        world._made_up("a check told twice", told_twice, "dry_run_only")
        world._made_up("a check left out", lambda body: body["checks"].clear(), "dry_run_only")
        return world

    def _elsewhere(self, name: str, signer: Signer, origin: str) -> None:
        ledger = Ledger(self.root / f"ledger {name}", clock=Clock())
        ledger.signing_setup = own_signing_setup(ledger.root, signer)
        ledger.create(origin)
        ledger.append([*dry_run(DRY).events, *good_run(GOOD, start=START + 10**9).events])
        hand_over(ledger, WEEK06, DAY, self.root / name, to=TO)

    def _held(self) -> None:
        """Let somebody hold the good run that was handed over, and whoever hands over tell it, or otherwise."""
        found = handover._signed_off
        ledger = signed_ledger(self.root / "ledger held", [7])
        ledger.append(good_run(GOOD).events)
        hand_over(ledger, WEEK06, DAY, self.root / "before it is held", to=TO)
        about, profiles = Asked(product=WEEK06.product, partition=DAY), profiles_of(WEEK06)
        sign_off(ledger, about, actor="Ada", decision="hold", reason="as agreed", profiles=profiles)
        hand_over(ledger, WEEK06, DAY, self.root / "held", to=TO)
        for name, told in (
            ("a hold told as a release", {"decision": "proceed"}),
            ("held by somebody else", {"actor": "Eve"}),
        ):

            def made_up(*about: Any, told: dict[str, str] = told) -> Any:
                signed_off = found(*about)
                assert signed_off is not None
                return replace(signed_off, **told)  # type: ignore[arg-type] # texts alone

            with patch.object(handover, "_signed_off", made_up), patch.object(handover, "accept"):
                hand_over(ledger, WEEK06, DAY, self.root / name, to=TO)

    def _made_up(self, name: str, change: Callable[[Any], None], decision: str) -> None:
        """Let somebody who may append, and has the key, record evidence that the run does not bear out."""
        derive, state = handover.derive_run_documents, handover._stated

        def derived(*about: Any) -> Any:
            found = derive(*about)
            (evidence,) = [each for each in found.documents if each.startswith("run_evidence/")]
            body = json.loads(found.documents[evidence])
            change(body)
            body["downstream_decision"] = decision
            return replace(found, documents={**found.documents, evidence: encode_document(body)})

        def stated(*about: Any) -> Any:
            return replace(state(*about), decision=decision)

        ledger = signed_ledger(self.root / f"ledger {name}", [7])
        ledger.append(dry_run(DRY).events)
        with (
            patch.object(handover, "derive_run_documents", derived),
            patch.object(handover, "_stated", stated),
            patch.object(handover, "accept"),
        ):
            hand_over(ledger, WEEK06, DAY, self.root / name, to=TO)

    def read(self, folder: str, name: str) -> bytes:
        """Return a file of one of the hand-overs."""
        return (self.root / folder / name).read_bytes()


def skip_passes(body: dict[str, Any]) -> None:
    for check in body["checks"]:
        check.update(status="passed", reason_codes=[])


def told_twice(body: dict[str, Any]) -> None:
    body["checks"].append({**body["checks"][0], "status": "passed", "reason_codes": []})


Act = Callable[[Path, World], None]


def evidence(change: Callable[[dict[str, Any]], Any]) -> Act:
    """Change the evidence as its writer would have written it."""
    return edited("evidence.json", change)


def edited(name: str, change: Callable[[dict[str, Any]], Any]) -> Act:
    def act(folder: Path, _world: World) -> None:
        body = json.loads((folder / name).read_bytes())
        change(body)
        (folder / name).write_bytes(encode_document(body))

    return act


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Act:
    def act(folder: Path, _world: World) -> None:
        before = (folder / name).read_bytes()
        after = change(before)
        assert after != before
        (folder / name).write_bytes(after)

    return act


def taken(name: str, source: str, of: str | None = None) -> Act:
    """Put a file of another hand-over in the place of this one's."""

    def act(folder: Path, world: World) -> None:
        (folder / name).write_bytes(world.read(source, of or name))

    return act


def all_of(*acts: Act) -> Act:
    def act(folder: Path, world: World) -> None:
        for each in acts:
            each(folder, world)

    return act


def removed(name: str) -> Act:
    return lambda folder, _world: (folder / name).unlink()


def the_only(folder: Path, below: str) -> str:
    (name,) = [path.relative_to(folder).as_posix() for path in (folder / below).iterdir()]
    return name


def in_folder(below: str, change: Callable[[bytes], bytes] | None) -> Act:
    """Change, or remove, the one file of a folder."""

    def act(folder: Path, world: World) -> None:
        name = the_only(folder, below)
        (rewritten(name, change) if change else removed(name))(folder, world)

    return act


def linked(folder: Path, world: World) -> None:
    (folder / "evidence.json").unlink()
    (folder / "evidence.json").symlink_to(world.root / "current" / "evidence.json")


def linked_folder(folder: Path, world: World) -> None:
    shutil.rmtree(folder / "superseded")
    (folder / "superseded").symlink_to(world.root / "current" / "superseded")


def piped(folder: Path, _world: World) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")


def huge(name: str) -> Act:
    def act(folder: Path, _world: World) -> None:
        with (folder / name).open("r+b") as file:
            file.truncate(ONE_TERABYTE)

    return act


def forged(folder: Path, world: World) -> None:
    """Set a partition free, everywhere, with a statement signed by a key of his own and digests that fit."""
    evidence(lambda body: body.update(downstream_decision="proceed_to_week07"))(folder, world)
    body = json.loads((folder / "evidence.json").read_bytes())
    envelope = json.loads((folder / "statement.intoto.json").read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    digest = handover._sha256((folder / "evidence.json").read_bytes())
    statement["subject"][0]["digest"]["sha256"] = digest
    statement["predicate"] |= {"evidence": body, "decision": "proceed_to_week07", "evidence_sha256": digest}
    signed = format_envelope(IN_TOTO, json.dumps(statement).encode(), OTHER_KEY)
    (folder / "statement.intoto.json").write_bytes(signed)
    index = json.loads((folder / "index.json").read_bytes())
    index |= {"decision": "proceed_to_week07", "evidence_sha256": digest}
    for each in index["files"]:
        content = (folder / each["name"]).read_bytes()
        each |= {"sha256": handover._sha256(content), "size_bytes": len(content)}
    (folder / "index.json").write_bytes(encode_document(index))
    proof = (folder / "handover.proof").read_bytes().split(b"\n")
    proof[1] = b"document " + handover._sha256((folder / "index.json").read_bytes()).encode()
    (folder / "handover.proof").write_bytes(b"\n".join(proof))


def lines_of_proof(change: Callable[[list[str]], list[str]]) -> Act:
    return rewritten("handover.proof", lambda data: "\n".join(change(data.decode().split("\n"))).encode())


def without_the_record(lines: list[str]) -> list[str]:
    """Leave the last entry out, with its path."""
    end = lines.index("")
    last = max(number for number in range(end) if lines[number].startswith("entry "))
    return lines[:last] + lines[end:]


def with_a_changed_entry(lines: list[str]) -> list[str]:
    position = next(n for n, line in enumerate(lines) if line.startswith("entry "))
    word, index, data = lines[position].split(" ")
    entry = base64.b64decode(data).replace(b"check_skipped", b"check_passed").replace(b'"skipped"', b'"passed"')
    changed = entry if base64.b64encode(entry).decode() != data else entry.replace(b"passed", b"PASSED")
    return [*lines[:position], f"{word} {index} {base64.b64encode(changed).decode()}", *lines[position + 1 :]]


def with_a_changed_hash(lines: list[str]) -> list[str]:
    position = next(n for n, line in enumerate(lines) if n > 2 and " " not in line and line)
    value = bytearray(base64.b64decode(lines[position]))
    value[7] ^= 1
    return [*lines[:position], base64.b64encode(value).decode(), *lines[position + 1 :]]


def with_checkpoint(change: Callable[[bytes], bytes]) -> Act:
    """Change the checkpoint in both places where it is."""

    def act(folder: Path, _world: World) -> None:
        before = (folder / "checkpoint").read_bytes()
        after = change(before)
        assert after != before
        (folder / "checkpoint").write_bytes(after)
        proof = (folder / "handover.proof").read_bytes()
        (folder / "handover.proof").write_bytes(proof.replace(before, after))

    return act


def of_one_entry_more(checkpoint: bytes) -> bytes:
    origin, size, rest = checkpoint.split(b"\n", 2)
    return b"\n".join([origin, b"%d" % (int(size) + 1), rest])


def signed_by_another(checkpoint: bytes) -> bytes:
    return sign_note(checkpoint.decode().partition("\n\n")[0] + "\n", [OTHER_KEY])


@dataclass(frozen=True)
class Damage:
    """One thing done to a hand-over (`to`, a folder of the world), and the refusal that it meets."""

    what: str
    act: Act | None
    code: str
    file: str
    member: str | None = None
    to: str = "current"
    after_newer: bool = False
    partition: str = DAY
    after: str = "current"


CHECK = "$.checks[0].status"
EVIDENCE, INDEX, STATEMENT, PROOF, CHECKPOINT = (
    *("evidence.json", "index.json", "statement.intoto.json", "handover.proof", "checkpoint"),
)
DAMAGES: Final = (
    Damage(
        "a partition that is held says proceed",
        evidence(lambda body: body.update(downstream_decision="proceed_to_week07")),
        *("file_changed", EVIDENCE, "$.downstream_decision", "older"),
    ),
    Damage(
        "a skip is counted as passed",
        evidence(lambda body: body["checks"][0].update(status="passed")),
        *("file_changed", EVIDENCE, CHECK, "older"),
    ),
    Damage(
        "… by somebody who may append and has the key: recorded, proved and signed",
        *(None, "record_differs", EVIDENCE, CHECK, "a skip that passes"),
    ),
    Damage(
        "… a skip is stated as such, and as passed",
        *(None, "record_differs", EVIDENCE, "$.checks[1].status", "a check told twice"),
    ),
    Damage("… a check is left out", None, "record_differs", EVIDENCE, "$.checks", "a check left out"),
    Damage(
        "… a dry run says proceed",
        *(None, "not_fit", EVIDENCE, "$.downstream_decision", "a dry run that says proceed"),
    ),
    Damage(
        "another status",
        evidence(lambda body: body.update(status="success")),
        *("file_changed", EVIDENCE, "$.status", "older"),
    ),
    Damage(
        "one row more",
        evidence(lambda body: body.update(output_row_count=body["output_row_count"] + 1)),
        *("file_changed", EVIDENCE, "$.output_row_count"),
    ),
    Damage(
        "a count as text",
        evidence(lambda body: body.update(output_row_count=str(body["output_row_count"]))),
        *("file_changed", EVIDENCE, "$.output_row_count"),
    ),
    Damage(
        "a moment later",
        evidence(lambda body: body.update(finished_at=body["finished_at"].replace("014000Z", "014001Z"))),
        *("file_changed", EVIDENCE, "$.finished_at"),
    ),
    Damage(
        "another run",
        evidence(lambda body: body.update(run_id=DRY)),
        *("file_changed", EVIDENCE, "$.run_id"),
    ),
    Damage(
        "a reason is taken away",
        evidence(lambda body: body["reason_codes"].pop()),
        *("file_changed", EVIDENCE, "$.reason_codes"),
    ),
    Damage("a member is added", evidence(lambda body: body.update(ok=True)), "file_changed", EVIDENCE, "$.ok"),
    Damage(
        "a member is taken away",
        evidence(lambda body: body.pop("lakehouse_snapshot_id")),
        *("file_changed", EVIDENCE, "$.lakehouse_snapshot_id"),
    ),
    Damage(
        "a check is taken away",
        evidence(lambda body: body["checks"].pop()),
        *("file_changed", EVIDENCE, "$.checks"),
    ),
    Damage(
        "white space alone", rewritten(EVIDENCE, lambda data: data.replace(b"\n", b"")), "file_changed", EVIDENCE
    ),
    Damage(
        "a member twice",
        rewritten(EVIDENCE, lambda data: data.replace(b"{", b'{"status":"failed",', 1)),
        *("file_changed", EVIDENCE),
    ),
    Damage("the evidence is cut off", rewritten(EVIDENCE, lambda data: data[:-9]), "file_malformed", EVIDENCE),
    Damage("the evidence is empty", rewritten(EVIDENCE, lambda _data: b""), "file_malformed", EVIDENCE),
    Damage("the evidence is missing", removed(EVIDENCE), "file_missing", EVIDENCE),
    Damage(
        "the evidence of another partition",
        *(taken(EVIDENCE, "next day"), "file_changed", EVIDENCE, "$.partition_key"),
    ),
    Damage(
        "the evidence that it supersedes",
        *(taken(EVIDENCE, "older"), "file_changed", EVIDENCE, "$.run_id"),
    ),
    Damage("the evidence is a link to the same bytes", linked, "file_not_regular", EVIDENCE),
    Damage("the evidence has a terabyte", huge(EVIDENCE), "file_too_large", EVIDENCE),
    Damage("the proof has a terabyte", huge(PROOF), "file_too_large", PROOF),
    Damage("a file is a pipe, which never ends", piped, "file_not_regular", "README.md"),
    Damage("a folder is a link", linked_folder, "file_not_regular", "superseded"),
    Damage(
        "the index says another decision",
        edited(INDEX, lambda body: body.update(decision="manual_review_required")),
        *("file_changed", INDEX, "$.decision"),
    ),
    Damage(
        "the index says another partition",
        edited(INDEX, lambda body: body.update(partition=NEXT_DAY)),
        *("file_changed", INDEX, "$.partition"),
    ),
    Damage(
        "the index says another log",
        edited(INDEX, lambda body: body["log"].update(origin="example.com/another")),
        *("log_differs", INDEX, "$.log.origin"),
    ),
    Damage(
        "the index does not say what is superseded",
        edited(INDEX, lambda body: body["supersedes"].clear()),
        *("not_recorded", INDEX),
    ),
    Damage("the index of another partition", taken(INDEX, "next day"), "file_changed", INDEX, "$.partition"),
    Damage(
        "a sign-off is taken away",
        edited(INDEX, lambda body: body.update(sign_off=None)),
        *("not_recorded", INDEX, None, "held"),
    ),
    Damage(
        "a hold is stated as a release, by somebody who may append and has the key",
        *(None, "record_differs", INDEX, "$.sign_off.decision", "a hold told as a release"),
    ),
    Damage(
        "… a hold is stated as somebody else's",
        *(None, "record_differs", INDEX, "$.sign_off.actor", "held by somebody else"),
    ),
    Damage(
        "what was handed over before somebody held it, after that",
        *(None, "older_than_accepted", INDEX, None, "before it is held", True),
        after="held",
    ),
    Damage("the index is cut off", rewritten(INDEX, lambda data: data[:-2]), "file_malformed", INDEX),
    Damage("everything says proceed, with digests that fit", forged, "file_changed", INDEX, "$.decision", "older"),
    Damage(
        "the statement says otherwise",
        edited(STATEMENT, lambda body: body.update(payload=base64.b64encode(b"{}").decode())),
        *("file_changed", STATEMENT),
    ),
    Damage("the statement of another partition", taken(STATEMENT, "next day"), "file_changed", STATEMENT),
    Damage(
        "the page for people says otherwise",
        rewritten("README.md", lambda data: data.replace(b"before you", b"after you")),
        *("file_changed", "README.md"),
    ),
    Damage(
        "another key to trust",
        rewritten("policy", lambda data: data.replace(VKEY.encode(), format_vkey(OTHER_KEY.verifier()).encode())),
        *("file_changed", "policy"),
    ),
    Damage(
        "the report is changed",
        in_folder("run_report", lambda data: data.replace(b"119", b"120")),
        *("file_changed", "run_report/…"),
    ),
    Damage(
        "what was superseded is changed",
        in_folder("superseded", lambda data: data.replace(b'"skipped"', b'"success"')),
        *("file_changed", "superseded/…"),
    ),
    Damage("what was superseded is missing", in_folder("superseded", None), "file_missing", "superseded/…"),
    Damage(
        "a second evidence file beside it",
        *(taken("evidence_final.json", "older", EVIDENCE), "file_unexpected", "evidence_final.json"),
    ),
    Damage("the record is left out of the proof", lines_of_proof(without_the_record), "not_recorded", PROOF),
    Damage("an entry of the proof is changed", lines_of_proof(with_a_changed_entry), "proof_invalid", PROOF),
    Damage("a hash of the proof is changed", lines_of_proof(with_a_changed_hash), "proof_invalid", PROOF),
    Damage("the proof is cut off", rewritten(PROOF, lambda data: data[:400]), "file_malformed", PROOF),
    Damage("the proof is missing", removed(PROOF), "file_missing", PROOF),
    Damage(
        "the proof and the checkpoint of an older hand-over",
        all_of(taken(PROOF, "older"), taken(CHECKPOINT, "older")),
        *("file_changed", INDEX, "$.run_id"),
    ),
    Damage("the checkpoint of an older hand-over", taken(CHECKPOINT, "older"), "checkpoint_differs", CHECKPOINT),
    Damage("a checkpoint of one entry more", with_checkpoint(of_one_entry_more), "signature_invalid", CHECKPOINT),
    Damage(
        "a checkpoint without its signature",
        with_checkpoint(lambda data: data.partition(b"\n\n")[0] + b"\n"),
        *("checkpoint_not_signed", CHECKPOINT),
    ),
    Damage("a checkpoint signed by another key", with_checkpoint(signed_by_another), "key_differs", CHECKPOINT),
    Damage("all of it by another key", None, "key_differs", CHECKPOINT, None, "of another key"),
    Damage("all of it of another log of the same key", None, "log_differs", CHECKPOINT, None, "of another log"),
    Damage("all of it of another partition", None, "partition_differs", INDEX, "$.partition", "next day"),
    Damage("all of it for another recipient", None, "to_differs", INDEX, "$.to", "of another recipient"),
    Damage("an older hand-over, after the newer one", None, "older_than_accepted", INDEX, None, "older", True),
)


def damaged(world: World, damage: Damage, folder: Path) -> Path:
    """Return a copy of the hand-over with the damage done to it."""
    shutil.copytree(world.root / damage.to, folder)
    if damage.act:
        damage.act(folder, world)
    return folder


def offered(folder: Path, memory: Path | None) -> Accepted:
    """Offer a folder to a recipient who wants Week07's hand-over of the day from the log that he knows."""
    return accept(folder, VKEY, partition=DAY, to=TO, origin=LOG_KEY.name, memory=memory)


def refusal(world: World, damage: Damage, scratch: Path) -> Refused | None:
    """Return how `accept` refuses it; `None` where it does not."""
    memory = scratch / "memory"
    if damage.after_newer:
        offered(world.root / damage.after, memory)
    try:
        offered(damaged(world, damage, scratch / "handover"), memory)
    except Refused as refused:
        return refused
    return None


def shown(name: str | None) -> str:
    """Return a file's name as the table has it: one that has a digest in it is shortened."""
    folder, slash, _ = (name or "").partition("/")
    return f"{folder}/…" if slash else folder


def table() -> str:
    lines = ["| what was done | code | file | member |", "|---|---|---|---|"]
    for each in DAMAGES:
        member = f"`{each.member}`" if each.member else ""
        lines.append(f"| {each.what} | `{each.code}` | `{each.file}` | {member} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """Return the page with the table put into its place."""
    before, _, rest = page.partition(START_MARK)
    return f"{before}{START_MARK}\n{table()}\n\n{END_MARK}{rest.partition(END_MARK)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    with tempfile.TemporaryDirectory() as root:
        made = World.make(Path(root))
        for number, damage in enumerate(DAMAGES):
            (Path(root) / str(number)).mkdir()
            met = refusal(made, damage, Path(root) / str(number))
            told = (met.code, shown(met.file), met.member) if met else None
            if told != (damage.code, damage.file, damage.member):
                print(f"{damage.what}: {told}: {met}")
