"""Who sees a shorter or another history: every cell of the tables in docs/trust.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_evidence.ledger import IntegrityError
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.memory import VerifierMemory
from run_evidence.ledger.verification.verified_query import open_verified
from run_evidence.ledger.verification.verify import verify
from tests.trust.histories import (
    ATTACKS,
    CHECKPOINTS,
    END,
    MEANING,
    PAGE,
    START,
    State,
    World,
    row_with_key,
    row_without_key,
    word,
)
from tests.trust.ledgers import VKEY

REBUILD = "python -m tests.trust.histories"


def stated() -> list[list[str]]:
    """Return the rows of the page's tables."""
    made = PAGE.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in made.splitlines() if line.startswith("|")
    ]


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("without"), forged_with_key=False)


@pytest.fixture(scope="module")
def holder(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("with"), forged_with_key=True)


@pytest.mark.soak
@pytest.mark.parametrize("checkpoints", CHECKPOINTS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_somebody_without_the_key_can_do(without: World, attack: str, checkpoints: str) -> None:
    """With and without the tiles, keys/ and Delta's log: the answer that serves the attacker best is the page's."""
    row = row_without_key(without, attack, checkpoints)
    assert row in stated(), REBUILD
    assert row[2] == "refuses", "the key signs no other history"
    assert row[3] == "altered", "who verified once is shown no other history"


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_the_key_s_holder_can_do(holder: World, attack: str) -> None:
    """A signature does not bind the one who makes it: a memory, a kept copy or a witness does."""
    row = row_with_key(holder, attack)
    assert row in stated(), REBUILD
    assert row[1] == row[3] == "altered"
    assert row[4] == "refuses"


def test_the_page_says_what_each_attack_is_and_has_no_other_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"**{attack}**: {meaning}" in page for attack, meaning in MEANING.items())
    assert len(stated()) == 2 * 2 + len(ATTACKS) * (len(CHECKPOINTS) + 1)


def test_the_honest_ledger_passes(without: World) -> None:
    """What is compared with the attacks is a ledger that all of them accept."""
    assert word(verify(without.ledger, trust=read_trust([VKEY], []))) == "ok"
    assert without.ledger.seal().signed_by == VKEY


def test_a_verified_query_shows_no_rows_of_another_history(without: World, tmp_path: Path) -> None:
    """It remembers, and is reminded, as `ledger verify` is."""
    mine = VerifierMemory(tmp_path / "mine")
    with open_verified(without.ledger, workers=1, memory=mine) as verified:
        assert verified.size == 9
    other = without.put(State("rewrite", "put in their place", tiles=True, keys=True, delta=True))
    with open_verified(other, workers=1) as unremembered:
        assert unremembered.size == 9
    with pytest.raises(IntegrityError, match="history was rewritten"), open_verified(other, workers=1, memory=mine):
        pytest.fail("rows of another history")
