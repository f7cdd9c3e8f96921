"""What `hand_over` writes: whole, the same again, brought up to date, and never where it does not belong."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from pipelines.delivery import WEEK06
from run_evidence.evidence import HandedOver, Refused, accept, hand_over, handover
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.profile_history import profiles_of
from run_evidence.evidence.sign_off import sign_off
from run_evidence.ledger import EnvironmentFault, IntegrityError, Ledger, UsageError
from run_evidence.ledger.admin.amend import amend, void
from run_evidence.ledger.proving.check import check_proof
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.tlog.keys import format_vkey, parse_vkey
from run_evidence.ledger.tlog.note import add_signatures
from run_evidence.ledger.tlog.policy import parse_trust_policy
from run_evidence.ledger.tlog.proof_file import parse_proof
from run_evidence.ledger.tlog.trust import read_trust
from tests.evidence.evidence_runs import (
    DAY,
    FACT,
    START,
    Story,
    dry_run,
    failed_run,
    good_run,
    open_run,
    planned,
    step_of,
    warned_run,
)
from tests.handover.damages import DRY, GOOD, TO
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, VKEY, WITNESS_KEY, grow, signed_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return signed_ledger(tmp_path / "ledger", [7])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hand one good run over, for tests that only read it."""
    folder = tmp_path_factory.mktemp("good")
    ledger = signed_ledger(folder / "ledger", [7])
    ledger.append(good_run(GOOD).events)
    hand_over(ledger, WEEK06, DAY, folder / "out")
    return folder / "out"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def index_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "index.json").read_bytes())
    return found


@pytest.mark.soak
@pytest.mark.parametrize(
    ("story", "decision"),
    [
        (good_run, "proceed_to_week07"),
        (dry_run, "dry_run_only"),
        (failed_run, "hold_downstream"),
        (warned_run, "manual_review_required"),
        (open_run, "hold_downstream"),
    ],
)
def test_whatever_came_of_a_run_is_handed_over(
    ledger: Ledger, tmp_path: Path, story: Callable[[str], Story], decision: str
) -> None:
    ledger.append(story(GOOD).events)
    done = hand_over(ledger, WEEK06, DAY, tmp_path / "out", to=TO)
    accepted = accept(tmp_path / "out", VKEY, product=WEEK06.product, partition=DAY, to=TO, memory=tmp_path / "m")
    assert done.decision == accepted.decision == decision
    assert accepted.evidence == json.loads((tmp_path / "out" / "evidence.json").read_bytes())
    assert accepted.final == done.final == (story is not open_run)
    assert (tmp_path / "out" / accepted.evidence["report_path"]).is_file(), "what the evidence names is there"


def test_the_same_again_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """In the folder and in the log, however much that has grown since; elsewhere it is the same, byte for byte."""
    ledger.append(good_run(GOOD).events)
    assert hand_over(ledger, WEEK06, DAY, tmp_path / "out", to=TO).changed
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    grow(ledger, [ledger.log().size + 30])
    size = ledger.log().size
    again = hand_over(ledger, WEEK06, DAY, tmp_path / "out", to=TO)
    assert not again.changed
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    assert hand_over(ledger, WEEK06, DAY, tmp_path / "elsewhere", to=TO).changed
    assert files(tmp_path / "elsewhere") == files(tmp_path / "out")
    assert ledger.log().size == size


@pytest.mark.soak
def test_a_newer_one_keeps_what_it_supersedes(ledger: Ledger, tmp_path: Path) -> None:
    """The dry run's evidence moves to `superseded/`; its report, which nothing names any more, goes."""
    ledger.append(dry_run(DRY).events)
    hand_over(ledger, WEEK06, DAY, tmp_path / "out", to=TO)
    older = files(tmp_path / "out")
    assert index_of(tmp_path / "out")["supersedes"] == []
    ledger.append(good_run(GOOD, start=START + 10**9).events)
    assert hand_over(ledger, WEEK06, DAY, tmp_path / "out", to=TO).superseded == 1
    ((each,),) = [index_of(tmp_path / "out")["supersedes"]]
    assert (each["run_id"], each["decision"], each["status"]) == (DRY, "dry_run_only", "skipped")
    newer = files(tmp_path / "out")
    assert newer[each["file"]] == older["evidence.json"]
    assert len([name for name in newer if name.startswith("run_report/")]) == 1
    assert accept(tmp_path / "out", VKEY).supersedes == (each,)


@pytest.mark.soak
def test_an_interim_document_is_superseded_by_the_final_one(ledger: Ledger, tmp_path: Path) -> None:
    """Of the same run; a folder that never held the interim one has it too."""
    story = open_run(GOOD)
    ledger.append(story.events)
    assert not hand_over(ledger, WEEK06, DAY, tmp_path / "out").final
    interim = (tmp_path / "out" / "evidence.json").read_bytes()
    ledger.append(story.checked("row_count_output_count", FACT).end().close().events)
    for folder in ("out", "new"):
        done = hand_over(ledger, WEEK06, DAY, tmp_path / folder)
        assert (done.final, done.decision, done.superseded) == (True, "proceed_to_week07", 1)
        ((each,),) = [index_of(tmp_path / folder)["supersedes"]]
        assert each["decision"] == "hold_downstream"
        assert (tmp_path / folder / each["file"]).read_bytes() == interim
        assert accept(tmp_path / folder, VKEY).proceeds


@pytest.mark.soak
def test_what_nobody_has_any_more_is_named_without_a_file(ledger: Ledger, tmp_path: Path) -> None:
    """By another version of the contract it cannot be derived again: the folder keeps it, an empty one has none."""
    ledger.append(good_run(GOOD).events)
    hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    before = (tmp_path / "out" / "evidence.json").read_bytes()
    another = replace(WEEK06, contract="week06_run_evidence_v2")
    hand_over(ledger, another, DAY, tmp_path / "out")
    ((kept,),) = [index_of(tmp_path / "out")["supersedes"]]
    assert (tmp_path / "out" / kept["file"]).read_bytes() == before
    hand_over(ledger, another, DAY, tmp_path / "empty")
    ((named,),) = [index_of(tmp_path / "empty")["supersedes"]]
    assert named == {**kept, "file": None}
    for folder in ("out", "empty"):
        assert accept(tmp_path / folder, VKEY).evidence["evidence_schema_version"] == another.contract


def test_an_earlier_run_that_cannot_be_read_is_named_and_stops_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """Its outcomes are lost; the run that counts is not."""
    lost = good_run(DRY).events
    ledger.append(lost[:-2])
    ledger.append(lost[-2:], personal=True)
    ledger.append(good_run(GOOD, start=START + 10**9).events)
    ledger.seal()
    for blob in (ledger.root / "blobs").iterdir():
        blob.unlink()
    hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    nothing = dict.fromkeys(("sha256", "status", "decision", "file"))
    assert index_of(tmp_path / "out")["supersedes"] == [{"run_id": DRY, **nothing}]
    assert "cannot be read" in (tmp_path / "out" / "README.md").read_text()
    assert accept(tmp_path / "out", VKEY).proceeds


def test_a_re_execution_is_accepted_with_what_it_inherits(ledger: Ledger, tmp_path: Path) -> None:
    """Its check was made by the run that it re-executes: that run's end is proved, too."""
    ledger.append(good_run(DRY).events)
    tags = {"dagster/parent_run_id": DRY, "dagster/root_run_id": DRY}
    again = Story(GOOD, start=START + 10**9, **tags).plan([planned(FACT)], {step_of(FACT): ()})
    ledger.append(again.made(FACT, output_row_count=119).end().close().events)
    hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    accepted = accept(tmp_path / "out", VKEY)
    assert [check["status"] for check in accepted.evidence["checks"]] == ["passed"]
    assert accepted.run_id == GOOD


def test_a_correction_is_handed_over_and_holds_the_partition_back(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append(good_run(GOOD).events)
    ledger.seal()
    with open_snapshot(ledger) as snapshot:
        ((event_id,),) = snapshot.rows("SELECT event_id FROM events WHERE event_type = 'check.evaluated.v1'")
    amend(ledger, event_id, reason="recounted", actor="ana", changes={"step_key": "x"})
    hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    accepted = accept(tmp_path / "out", VKEY)
    assert accepted.decision == "manual_review_required"
    assert "ledger_amendments" in {check["name"] for check in accepted.evidence["checks"]}


@pytest.mark.soak  # four hand-overs: 3 s
def test_what_stands_again_is_the_newest_at_the_recipients(ledger: Ledger, tmp_path: Path) -> None:
    """Held, released, and the release withdrawn: it is held again, and the release is not accepted any more."""
    about, by = Asked(product=WEEK06.product, partition=DAY), profiles_of(WEEK06)
    ledger.append(good_run(GOOD).events)
    found = []
    for step in ("hold", "proceed", "void", "same"):
        if step in {"hold", "proceed"}:
            event_id, _ = sign_off(ledger, about, actor="Ada", decision=step, reason="so", profiles=by)
            found.append(event_id)
        elif step == "void":
            void(ledger, found.pop(), reason="by mistake", actor="Ada")
        changed = hand_over(ledger, WEEK06, DAY, tmp_path / "current", to=TO).changed
        shutil.copytree(tmp_path / "current", tmp_path / f"{step} {len(found)}", dirs_exist_ok=True)
        accepted = accept(tmp_path / "current", VKEY, memory=tmp_path / "memory")
        assert accepted.proceeds == (len(found) != 1)
        assert changed == (step != "same")
    with pytest.raises(Refused, match="older_than_accepted"):
        accept(tmp_path / "proceed 2", VKEY, memory=tmp_path / "memory")


def test_nothing_is_handed_over_that_no_key_signs(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [7], signer=None)
    ledger.append(good_run(GOOD).events)
    with pytest.raises(UsageError, match="has none to sign it with") as refused:
        hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    assert "ledger key new" in str(refused.value.next_step)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("partition", ["2026-04-19", "yesterday"])
def test_a_partition_that_no_run_planned_is_none(ledger: Ledger, tmp_path: Path, partition: str) -> None:
    ledger.append(good_run(GOOD).events)
    with pytest.raises(UsageError):
        hand_over(ledger, WEEK06, partition, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.soak
def test_a_folder_that_holds_something_else_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    """Another's files, the hand-over to another recipient, a ledger."""
    ledger.append(good_run(GOOD).events)
    hand_over(ledger, WEEK06, DAY, tmp_path / "out", to="week08")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "index.json").write_text("[]")
    for folder in ("out", "mine", "odd", "ledger", "ledger/checkpoints"):
        before = files(tmp_path / folder)
        with pytest.raises(UsageError):
            hand_over(ledger, WEEK06, DAY, tmp_path / folder, to=TO)
        assert files(tmp_path / folder) == before


@pytest.mark.soak
def test_an_index_that_lists_others_files_removes_none(ledger: Ledger, tmp_path: Path) -> None:
    """The folder is a stranger's to write: what its index names elsewhere is not read, nor removed."""
    ledger.append(dry_run(DRY).events)
    hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    (tmp_path / "precious").write_text("precious")
    index = index_of(tmp_path / "out")
    names = ["../precious", str(tmp_path / "precious"), "superseded/../../precious", "..", "a/b/c"]
    index["files"] += [{"name": name, "sha256": "", "size_bytes": 1} for name in names]
    (tmp_path / "out" / "index.json").write_text(json.dumps(index))
    ledger.append(good_run(GOOD, start=START + 10**9).events)
    hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    assert (tmp_path / "precious").read_text() == "precious"
    assert accept(tmp_path / "out", VKEY).proceeds


@pytest.mark.soak
def test_killed_at_any_point_it_holds_or_is_refused_and_is_completed(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two files a recipient finds the older one, the newer one, or none that holds."""
    ledger.append(dry_run(DRY).events)
    hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    older = files(tmp_path / "out")
    ledger.append(good_run(GOOD, start=START + 10**9).events)
    hand_over(ledger, WEEK06, DAY, tmp_path / "whole")
    for derive in (
        "_runs",
        "derive_run_documents",
        "_recorded",
    ):  # the log stays as it is
        monkeypatch.setattr(handover, derive, functools.cache(getattr(handover, derive)))
    write = handover.replace_atomic
    held = []
    for allowed, there in [*((n, older) for n in range(12)), *((n, {}) for n in range(10))]:
        folder = tmp_path / f"{allowed} of {len(there)}"
        for name, content in there.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        left = allowed

        def dying(path: Path, data: bytes) -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            write(path, data)

        monkeypatch.setattr(handover, "replace_atomic", dying)
        try:
            hand_over(ledger, WEEK06, DAY, folder)
        except KeyboardInterrupt:
            try:
                held.append(accept(folder, VKEY).decision)
            except (Refused, EnvironmentFault):
                held.append("refused")
            for name in (".tmp-1", "superseded/.tmp-2"):  # what was being written
                if (folder / name).parent.is_dir():
                    (folder / name).write_bytes(b"half")
        monkeypatch.setattr(handover, "replace_atomic", write)
        hand_over(ledger, WEEK06, DAY, folder)
        assert accept(folder, VKEY).proceeds
        assert files(folder) == files(tmp_path / "whole")
    assert held[0] == "dry_run_only"
    assert set(held[1:]) == {"refused"}
    assert 10 < len(held) < 22


def test_the_statement_is_verified_by_others_libraries(good: Path) -> None:
    """DSSE by securesystemslib, the statement by in-toto's own bindings; not by another key."""
    envelope = Envelope.from_dict(json.loads((good / "statement.intoto.json").read_bytes()))
    name = f"{LOG_KEY.name}+{LOG_KEY.verifier().key_id.hex()}"

    def key(public: bytes) -> SSlibKey:
        return SSlibKey(name, "ed25519", "ed25519", {"public": public.hex()})

    assert set(envelope.verify([key(LOG_KEY.verifier().public_key)], 1)) == {name}
    with pytest.raises(VerificationError):
        envelope.verify([key(OTHER_KEY.verifier().public_key)], 1)
    body = json.loads(envelope.payload)
    statement = Statement.copy_from_pb(ParseDict(body, statement_pb2.Statement()))
    statement.validate()
    assert body["predicate"]["evidence"] == accept(good, VKEY).evidence


def test_what_a_key_signs_in_a_statement_is_no_note() -> None:
    """A note ends in a newline, so no signature over a statement can be put under a checkpoint."""
    with pytest.raises(UsageError):
        LOG_KEY.sign_bytes(b"example.com/ledger\n1\nAAAA\n")
    with pytest.raises(UsageError):
        WITNESS_KEY.sign_bytes(b"x")


def test_the_proof_is_one_like_any_other(good: Path) -> None:
    """`ledger check handover.proof index.json` says the same."""
    found = files(good)
    proven = check_proof(parse_proof(found["handover.proof"]), read_trust([VKEY], []), found["index.json"])
    assert proven.subject is not None
    assert found["checkpoint"] == parse_proof(found["handover.proof"]).head.message
    policy = parse_trust_policy(found["policy"].decode())
    assert (policy.logs, policy.quorum) == ((LOG_KEY.verifier(),), "none")


def test_it_is_accepted_by_one_of_several_keys_and_by_no_text(good: Path, tmp_path: Path) -> None:
    assert accept(good, [format_vkey(OTHER_KEY.verifier()), VKEY]).signed_by == (VKEY,)
    for wrong in ("", "a key", []):
        with pytest.raises(UsageError):
            accept(good, wrong)
    with pytest.raises(EnvironmentFault):
        accept(tmp_path / "nowhere", VKEY)


def test_a_witness_that_is_asked_for_has_cosigned(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "out")
    witness = format_vkey(WITNESS_KEY.verifier())
    with pytest.raises(Refused) as refused:
        accept(tmp_path / "out", VKEY, witness_keys=[witness])
    assert refused.value.code == "not_cosigned"
    head = (tmp_path / "out" / "checkpoint").read_bytes()
    text = head.decode().partition("\n\n")[0] + "\n"
    cosigned = add_signatures(head, [WITNESS_KEY.cosign(text, 1_700_000_000)])
    proof = (tmp_path / "out" / "handover.proof").read_bytes()
    (tmp_path / "out" / "checkpoint").write_bytes(cosigned)
    (tmp_path / "out" / "handover.proof").write_bytes(proof.replace(head, cosigned))
    assert accept(tmp_path / "out", VKEY, witness_keys=[witness]).cosigned_by == ((witness, 1_700_000_000),)
    assert parse_vkey(witness) == WITNESS_KEY.verifier()


def test_a_memory_that_cannot_be_read_accepts_nothing(good: Path, tmp_path: Path) -> None:
    """What is not remembered is not accepted: a fault of the environment, and no word against the hand-over."""
    accept(good, VKEY, memory=tmp_path / "memory")
    (kept,) = (tmp_path / "memory").glob("*.json")
    for text in ("", "{}", "[]", '{"subject": 1}', kept.read_text().replace(DAY, "2026-04-18")):
        kept.write_text(text)
        with pytest.raises(EnvironmentFault, match="cannot be read"):
            accept(good, VKEY, memory=tmp_path / "memory")
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot remember"):
        accept(good, VKEY, memory=tmp_path / "file")


@pytest.mark.soak
def test_another_history_of_the_same_log_contradicts_what_was_accepted(tmp_path: Path) -> None:
    """The key's holder shows two histories to one recipient: two roots for one size."""
    for name, rows in (("one", 119), ("two", 120)):
        ledger = signed_ledger(tmp_path / name, [7])
        story = Story(GOOD).plan([planned(FACT)], {step_of(FACT): ()}).made(FACT, output_row_count=rows)
        ledger.append(story.end().close().events)
        hand_over(ledger, WEEK06, DAY, tmp_path / f"of {name}")
    assert accept(tmp_path / "of one", VKEY, memory=tmp_path / "memory").decision == "proceed_to_week07"
    with pytest.raises(Refused) as refused:
        accept(tmp_path / "of two", VKEY, memory=tmp_path / "memory")
    assert refused.value.code == "log_contradicts"


def test_a_run_whose_plan_is_lost_lets_nobody_hand_over(ledger: Ledger, tmp_path: Path) -> None:
    """It may be the one that counts: no earlier run takes its place."""
    ledger.append(good_run(GOOD).events)
    many = [planned(f"week06/asset_{number:05}") for number in range(2_000)]
    ledger.append(Story(DRY, start=START + 10**9).plan(many, {}).events, personal=True)
    ledger.seal()
    for blob in (ledger.root / "blobs").iterdir():
        blob.unlink()
    with pytest.raises(IntegrityError, match=DRY):
        hand_over(ledger, WEEK06, DAY, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_page_for_people_survives_any_name(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [7])
    ledger.append(good_run(GOOD).events)
    to = "week07 `x` | <b>\x1b[31m"
    hand_over(ledger, WEEK06, DAY, tmp_path / "out", to=to)
    page = (tmp_path / "out" / "README.md").read_text()
    assert "<b>" not in page.replace("\\<b", "")
    assert "\x1b" not in page
    assert accept(tmp_path / "out", VKEY, to=to).to == to
    assert isinstance(hand_over(ledger, WEEK06, DAY, tmp_path / "out", to=to), HandedOver)
