"""The policy of a gate: what it asks for is asked, and what it spells wrong is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from calling import Call
from evidence_runs import DAY, FACT, good_run, warned_run
from test_gate import RUN, failing, got, marks

from run_evidence.evidence.gate_policy import GatePolicy
from run_evidence.evidence.gate_policy_file import read_gate_policy
from run_evidence.ledger import InputError, Ledger
from run_evidence.ledger.tlog.keys import Signer, format_vkey
from run_evidence.ledger.tlog.note import add_signatures
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, VKEY, WITNESS_KEY, head_of, signed_ledger

OF_FACT = ("--product", FACT, "--partition", DAY)
WITNESS = f"witness w1 {format_vkey(WITNESS_KEY.verifier())}"
STRANGER = format_vkey(Signer("example.com/ledger", 0x01, bytes([7]) * 32).verifier())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Make a signed ledger that has a good run."""
    made = signed_ledger(tmp_path / "ledger", [])
    made.append(good_run(RUN).events)
    made.seal()
    return made


def written(tmp_path: Path, text: str, name: str = "policy.toml") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def cosign(ledger: Ledger, witness: Signer = WITNESS_KEY) -> None:
    """Let a witness cosign the newest checkpoint, as a cosignature that comes later does."""
    head = head_of(ledger, ledger.log().size)
    path = paths(ledger).checkpoints / f"{head.checkpoint.size:016d}"
    path.write_bytes(add_signatures(head.message, [witness.cosign(head.text, 1_700_000_000)]))


def test_a_key_that_is_trusted_has_to_have_signed(ledger: Ledger, call: Call, tmp_path: Path) -> None:
    """The file alone says whom one trusts: not the ledger, and not who else signed."""
    said = call("gate", *OF_FACT, "--policy", written(tmp_path, f"log {VKEY}\nquorum none\n", "trust"), "--json")
    assert said.code == 0
    assert marks(said)["signed"] == "met"
    other = written(tmp_path, f"log {STRANGER}\nquorum none\n", "other")
    said = call("gate", *OF_FACT, "--policy", other, "--json")
    assert (said.code, failing(said)) == (1, {"signed"})


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ('sign_off = true\nactors = [""]', "names nobody"),
        ('sign_off = true\nactors = ["ana", " "]', "names nobody"),
        ('actors = ["ana"]', "nobody would be asked"),
    ],
)
def test_actors_that_nobody_can_be_are_refused(
    ledger: Ledger, call: Call, tmp_path: Path, members: str, problem: str
) -> None:
    """A name that is none, and names that no rule asks for, would be a rule that is never asked."""
    assert ledger.log().size
    said = call("gate", *OF_FACT, "--policy", written(tmp_path, members))
    assert said.code == 2
    assert problem in said.err


def test_an_unsigned_ledger_does_not_meet_a_policy_that_wants_a_key(tmp_path: Path, call: Call) -> None:
    """Without such a policy the rule says so, and nothing is asked."""
    unsigned = signed_ledger(tmp_path / "unsigned", [], None)
    unsigned.append(good_run(RUN).events)
    unsigned.seal()
    asked = ("--ledger", str(unsigned.root), "gate", *OF_FACT)
    assert call(*asked).code == 0
    said = call(*asked, "--policy", written(tmp_path, f"log {VKEY}\nquorum none"), "--json")
    assert failing(said) == {"signed"}


def test_a_ledger_that_signs_and_whose_newest_checkpoint_is_not_signed(
    ledger: Ledger, call: Call, tmp_path: Path
) -> None:
    """A signature that is missing is a finding without any policy."""
    head = head_of(ledger, ledger.log().size)
    (paths(ledger).checkpoints / f"{head.checkpoint.size:016d}").write_bytes(head.text.encode())
    assert failing(call("gate", *OF_FACT, "--json")) == {"signed"}


def test_witnesses_are_asked_for_by_the_quorum(ledger: Ledger, call: Call, tmp_path: Path) -> None:
    """An older checkpoint that covers the evidence and is cosigned will do: cosignatures come later."""
    policy = written(tmp_path, f"log {VKEY}\n{WITNESS}\nquorum w1\n")
    said = call("gate", *OF_FACT, "--policy", policy, "--json")
    assert failing(said) == {"witnessed"}
    cosign(ledger)
    assert call("gate", *OF_FACT, "--policy", policy).code == 0
    ledger.append(warned_run("22222222").events)
    ledger.seal()
    said = call("gate", "--run", RUN, "--policy", policy, "--json")
    assert marks(said)["witnessed"] == "met"


def test_a_signature_by_a_trusted_key_that_is_wrong_is_no_verdict(
    ledger: Ledger, call: Call, tmp_path: Path
) -> None:
    """It ends with 3: something was altered."""
    head = head_of(ledger, ledger.log().size)
    lines = head.message.decode().split("\n")
    lines[2] = "A" * 43 + "="
    (paths(ledger).checkpoints / f"{head.checkpoint.size:016d}").write_text("\n".join(lines))
    assert call("gate", *OF_FACT, "--policy", written(tmp_path, f"log {VKEY}\nquorum none")).code == 3
    assert call("gate", *OF_FACT).code == 3


def test_a_root_that_the_trusted_key_signed_and_the_entries_do_not_lead_to(
    ledger: Ledger, call: Call, tmp_path: Path
) -> None:
    """The signature is good; what was read is not what it is over."""
    head = head_of(ledger, ledger.log().size)
    text = head.text.replace(head.text.split("\n")[2], "A" * 43 + "=")
    from run_evidence.ledger.tlog.note import format_note

    (paths(ledger).checkpoints / f"{head.checkpoint.size:016d}").write_bytes(
        format_note(text, [LOG_KEY.sign(text)])
    )
    assert call("gate", *OF_FACT, "--policy", written(tmp_path, f"log {VKEY}\nquorum none")).code == 3


def test_a_rule_that_is_off_is_shown_as_not_asked(ledger: Ledger, call: Call, tmp_path: Path) -> None:
    """With what there is all the same."""
    ledger.append(good_run("22222222", start=1_776_384_000_000_000 + 10**9).events)
    ledger.seal()
    said = call("gate", "--run", RUN, "--policy", written(tmp_path, 'off = ["newest"]'), "--json")
    assert (said.code, marks(said)["newest"]) == (0, "not_asked")
    assert "materialized by run 22222222" in got(said, "newest")


def test_what_the_command_requires_goes_before_the_policy(call: Call, tmp_path: Path, ledger: Ledger) -> None:
    ledger.append(warned_run("22222222", start=1_776_384_000_000_000 + 10**9).events)
    ledger.seal()
    policy = written(tmp_path, 'require = "manual_review_required"')
    assert call("gate", *OF_FACT, "--policy", policy).code == 0
    assert call("gate", *OF_FACT, "--policy", policy, "--require", "proceed").code == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('off = ["newst"]', "no rule"),
        ('off = ["verdict"]', "only capture"),
        ('off = "newest"', "Expected `array`, got `str` - at `$.off`"),
        ("off = [1]", "Expected `str`, got `int` - at `$.off[0]`"),
        ('requires = "proceed"', "unknown field `requires`"),
        ('require = "hold_downstream"', "none of proceed"),
        ('require = ""', "none of proceed"),
        ("require = true", "got `bool` - at `$.require`"),
        ('trust = "quorum W"', "Line 1"),
        ("trust = 1", "got `int` - at `$.trust`"),
        ('off = ["newest"', "not TOML"),
        ("log x\nquorum none", "Line 1"),
    ],
)
def test_a_policy_that_is_wrong_is_refused(call: Call, ledger: Ledger, tmp_path: Path, text: str, why: str) -> None:
    """With the file's name; a rule that was spelled wrong is never one that nobody asks."""
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=r"policy\.toml") as found:
        read_gate_policy(Path(path))
    assert why in str(found.value)
    assert call("gate", *OF_FACT, "--policy", path).code == 2


def test_json_is_read_as_strictly(tmp_path: Path) -> None:
    """A member that stands twice is refused; an empty policy is the defaults."""
    good = written(tmp_path, json.dumps({"off": ["capture"]}), "a.json")
    assert read_gate_policy(Path(good)) == GatePolicy(off=("capture",))
    assert read_gate_policy(Path(written(tmp_path, "", "b.toml"))) == GatePolicy()
    for text in ('{"off": [], "off": ["newest"]}', "[]", "null", "{", "[" * 100_000):
        with pytest.raises(InputError, match=r"c\.json"):
            read_gate_policy(Path(written(tmp_path, text, "c.json")))
