"""Two processes seal with one key: the slower takes no entry of the other for lost, and leaves no head unsigned."""

from __future__ import annotations

from pathlib import Path

import pytest

import run_evidence.ledger.sealing.seal
from run_evidence.ledger import Ledger
from run_evidence.ledger.sealing.signing import write_checkpoint
from run_evidence.ledger.storage.log import Log
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import record
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, VKEY, head_of, own_signing_setup, signed_ledger

SIGNED = LOG_KEY.verifier()


def test_a_rival_that_seals_after_the_log_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key remembers more than the log had a moment ago; that is no loss."""
    mine = signed_ledger(tmp_path / "ledger", [5])
    rival = Ledger(mine.root, clock=mine.clock, signing_setup=mine.signing_setup)
    opened, waiting = run_evidence.ledger.sealing.seal.open_log, [True]

    def outrun(store: Store) -> Log:
        log = opened(store)
        while waiting:
            waiting.pop()
            rival.append([record(101)])
            rival.seal()
        return log

    mine.append([record(100)])
    monkeypatch.setattr(run_evidence.ledger.sealing.seal, "open_log", outrun)
    mine.seal()
    assert verify(mine, trust=read_trust([VKEY], [])).ok


def test_a_head_that_is_written_after_a_later_one(tmp_path: Path) -> None:
    """It is signed, because it is of the same history, and the key goes on remembering the later one."""
    mine = signed_ledger(tmp_path / "ledger", [5, 6, 7])
    late = head_of(mine, 6).checkpoint
    paths(mine).checkpoint(6).unlink()
    signer = own_signing_setup(mine.root).signer(mine.store)
    assert signer is not None
    assert write_checkpoint(mine.store, late, signer).names(SIGNED)
    last = signer.memory.last(LOG_KEY.name)
    assert last is not None
    assert last.checkpoint.size == 7
    assert verify(mine, trust=read_trust([VKEY], [])).ok


def test_a_head_of_another_seal_is_completed_with_its_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two seals nobody sees a head that lacks the signature."""
    mine = signed_ledger(tmp_path / "ledger", [5, 6])
    paths(mine).checkpoint(6).unlink()

    def look(*_: object) -> None:
        assert head_of(mine, 6).names(SIGNED)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_evidence.ledger.sealing.seal, "_frontier", look)
    with pytest.raises(KeyboardInterrupt):
        mine.seal()
