"""`status` and `doctor` say whether a ledger is signed and by whom, and never call damage a signature."""

from __future__ import annotations

from pathlib import Path

from run_evidence.ledger import Ledger
from run_evidence.ledger.admin.signed_state import signed_state
from run_evidence.ledger.admin.status import diagnose, status
from run_evidence.ledger.storage.keyring import record_key
from run_evidence.ledger.tlog.note import add_signatures
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, VKEY, WITNESS_KEY, grow, head_of, signed_ledger
from tests.trust.test_signing import cli


def signing(ledger: Ledger) -> tuple[str, str | None]:
    """Return what doctor says last, which is about the log and its signatures, and the next step."""
    found = diagnose(ledger)[-1]
    return found.level, found.next_step


def test_an_unsigned_ledger_says_so(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5], signer=None)
    now = status(ledger)
    assert (now.signed, now.signed_by, now.signing) == (False, (), "not signed")
    assert diagnose(ledger)[-1].what.endswith("not signed")
    record_key(ledger.store, LOG_KEY.verifier())
    assert signing(ledger) == ("advice", "ledger seal")
    assert status(ledger).signing == f"not signed yet by {VKEY}"


def test_a_signed_ledger_names_its_key_and_the_witnesses(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5])
    assert signing(ledger) == ("ok", None)
    head = head_of(ledger, 5)
    cosigned = add_signatures(head.message, [WITNESS_KEY.cosign(head.text, 1)])
    paths(ledger).checkpoint(5).write_bytes(cosigned)
    now = status(ledger)
    assert (now.signed, now.signed_by) == (True, (VKEY,))
    assert now.signing == f"signed by {VKEY}, also signed by {WITNESS_KEY.name} (not checked)"
    assert VKEY in cli(tmp_path, "status").stdout


def test_a_signature_that_is_missing_wrong_or_unreadable_is_a_problem(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5])
    path = paths(ledger).checkpoint(5)
    right = path.read_bytes()
    other = head_of(signed_ledger(tmp_path / "other", [6]), 6)
    for wrong in (
        head_of(ledger, 5).text.encode(),
        add_signatures(right, other.signatures),
        right[:-3],
        b"\xff",
    ):
        path.write_bytes(wrong)
        state = signed_state(ledger.store)
        assert state.problem is not None
        assert not state.signed_by
        assert signing(ledger)[0] == "problem"
    path.write_bytes(right)
    assert signed_state(ledger.store).problem is None
    next(paths(ledger).keys.iterdir()).write_bytes(b"{}")
    assert "is not the record of a key" in str(signed_state(ledger.store).problem)


def test_without_the_key_sealing_goes_on_and_doctor_says_what_is_missing(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5])
    grow(Ledger(ledger.root, clock=ledger.clock), [9])
    assert signing(ledger)[0] == "problem"
    assert "lacks the signature" in status(ledger).signing
    ledger.seal()
    assert signing(ledger) == ("ok", None)
