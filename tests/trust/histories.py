"""What an attacker can put in the place of a ledger, and who sees it; writes the tables of docs/trust.md.

`python -m tests.trust.histories` writes them again.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from run_evidence.ledger import IntegrityError, Ledger
from run_evidence.ledger.sealing.compact import compact
from run_evidence.ledger.storage.checkpoints import checkpoint_sizes
from run_evidence.ledger.tlog.keys import format_vkey
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.findings import Verification
from run_evidence.ledger.verification.memory import VerifierMemory
from run_evidence.ledger.verification.verify import verify
from run_evidence.ledger.witness.server import WitnessServer
from run_evidence.ledger.witness.witness import open_witness
from tests.ledger.samples import Clock, record
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, VKEY, WITNESS_KEY, grow, own_signing_setup, signed_ledger

PAGE: Final = Path(__file__).parents[2] / "docs" / "trust.md"
ATTACKS: Final = ("truncation", "rollback", "fork", "rewrite")
CHECKPOINTS: Final = ("left as they were", "deleted", "put in their place")
WITHOUT_KEY: Final = (
    "the key's holder, at the next seal",
    "a verifier with memory",
    "with the key",
    "with neither",
)
WITH_KEY: Final = ("a verifier with memory", "with the key", "a copy of a checkpoint (`--since`)", "a witness")

MEANING: Final = {
    "truncation": "the last entries are cut off, at a place where there was no checkpoint",
    "rollback": "an older state of the ledger, as it was, is put back",
    "fork": "the last entries are exchanged for others",
    "rewrite": "all entries are exchanged for others",
}
_WEAKEST: Final = ("ok", "not covered", "altered", "refuses")
_UPTO: Final = {"truncation": 4, "rollback": 5, "fork": 5, "rewrite": 0}


@dataclass(frozen=True, slots=True)
class State:
    """One way to put an attack in place: what becomes of the checkpoints, and what else he brings of his own."""

    attack: str
    checkpoints: str
    tiles: bool
    keys: bool
    delta: bool


def states(attack: str, checkpoints: str) -> list[State]:
    """Return every combination of what is taken along: tiles, keys/ and Delta's log."""
    return [State(attack, checkpoints, *each) for each in itertools.product((False, True), repeat=3)]


@dataclass(frozen=True, slots=True)
class World:
    """A signed ledger of 9 entries that was verified once, and what an attacker made of each attack."""

    folder: Path
    ledger: Ledger
    memory: Path
    forged: dict[str, Ledger]

    @classmethod
    def make(cls, folder: Path, *, forged_with_key: bool) -> World:
        """Build the ledger and its forgeries in `folder`."""
        ledger = signed_ledger(folder / "ledger", [3, 5])
        forger = LOG_KEY if forged_with_key else None
        shutil.copytree(ledger.root, folder / "older")
        shutil.copytree(f"{ledger.root}.memory", folder / "older.memory")
        grow(ledger, [9])
        memory = folder / "verified"
        assert verify(ledger, trust=read_trust([VKEY], []), memory=VerifierMemory(memory)).ok
        forged = {
            "truncation": signed_ledger(folder / "truncation", [3, 4], forger),
            "rollback": Ledger(folder / "older", clock=Clock()),
            "fork": signed_ledger(folder / "fork", [3, 5], forger),
            "rewrite": signed_ledger(folder / "rewrite", [], forger),
        }
        for attack, size in (("fork", 9), ("rewrite", 9)):
            one = forged[attack]
            one.append(record(1_000 + n) for n in range(one.log().size, size))
            assert one.seal().size == size
        for attack in ("truncation", "fork"):
            compact(
                forged[attack].store, LOG_KEY.name
            )  # the ends of segments would tell which checkpoints there were
        return cls(folder, ledger, memory, forged)

    def put(self, state: State) -> Ledger:
        """Return a fresh copy of the ledger with the attack in place."""
        root = Path(tempfile.mkdtemp(dir=self.folder)) / "ledger"
        shutil.copytree(self.ledger.root, root)
        his, here = self.forged[state.attack], Ledger(root, clock=Clock())
        _replace(paths(his).log, paths(here).log, keep=None if state.delta else "_delta_log")
        if state.tiles:
            _replace(paths(his).tiles, paths(here).tiles)
        if state.keys:
            _replace(paths(his).keys, paths(here).keys)
        if state.checkpoints != "left as they were":
            for size in checkpoint_sizes(here.store):
                paths(here).checkpoint(size).unlink()
        if state.checkpoints == "put in their place":
            for size in checkpoint_sizes(his.store):
                genuine = size <= _UPTO[state.attack] and size in checkpoint_sizes(self.ledger.store)
                source = self.ledger if genuine else his
                shutil.copy(paths(source).checkpoint(size), paths(here).checkpoint(size))
        return here

    def holder(self, state: State) -> str:
        """Seal with the key and its memory, and return what came of it."""
        here = self.put(state)
        shutil.copytree(f"{self.ledger.root}.memory", f"{here.root}.memory")
        signing = Ledger(here.root, clock=here.clock, signing_setup=own_signing_setup(here.root))
        signing.append([record(2_000)])
        try:
            done = signing.seal()
        except IntegrityError:
            return "refuses"
        return "ok" if done.signed_by else "refuses"

    def verifier(self, state: State, *, key: bool, memory: bool) -> str:
        """Verify, and return what was found."""
        trust = read_trust([VKEY] if key else [], [])
        mine = None
        if memory:
            mine = Path(tempfile.mkdtemp(dir=self.folder)) / "verified"
            shutil.copytree(self.memory, mine)
        return word(verify(self.put(state), trust=trust, memory=VerifierMemory(mine) if mine else None))

    def since(self, state: State) -> str:
        """Verify against a copy of the newest checkpoint."""
        kept = [paths(self.ledger).checkpoint(9)]
        return word(verify(self.put(state), trust=read_trust([VKEY], []), since=kept))

    def witness(self, state: State) -> str:
        """Show the newest checkpoint to a witness that cosigned the ledger's newest, and return its answer."""
        folder = Path(tempfile.mkdtemp(dir=self.folder)) / "witness"
        here = self.put(state)
        with WitnessServer(
            open_witness(WITNESS_KEY, {LOG_KEY.name: (LOG_KEY.verifier(),)}, folder), "127.0.0.1", 0
        ) as server:
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            try:
                keys = read_trust([], [format_vkey(WITNESS_KEY.verifier())]).witnesses
                asked = {"witnesses": (server.url,), "witness_keys": keys}
                genuine = Ledger(
                    self.ledger.root,
                    clock=Clock(),
                    signing_setup=replace(own_signing_setup(self.ledger.root), **asked),
                )
                assert genuine.seal().contradicted == ()
                shutil.copytree(f"{self.forged[state.attack].root}.memory", f"{here.root}.memory")
                forger = replace(own_signing_setup(here.root), **asked)
                done = Ledger(here.root, clock=Clock(), signing_setup=forger).seal()
            except IntegrityError:
                return "refuses"
            finally:
                server.shutdown()
                serving.join()
        return "refuses" if done.contradicted else "ok"


def _replace(source: Path, target: Path, keep: str | None = None) -> None:
    kept = target.with_name("kept")
    if keep:
        shutil.move(target / keep, kept)
    shutil.rmtree(target, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, target)
    if keep:
        shutil.rmtree(target / keep, ignore_errors=True)
        shutil.move(kept, target / keep)


def word(result: Verification) -> str:
    """Say what a verification found in a word."""
    return "ok" if result.ok else "altered" if result.altered else "not covered"


def weakest(answers: list[str]) -> str:
    """Return the answer that serves the attacker best."""
    return min(answers, key=_WEAKEST.index)


def row_without_key(world: World, attack: str, checkpoints: str) -> list[str]:
    """Return a row of the table of attackers without the key: the answer of all ways that serves him best."""
    ways = states(attack, checkpoints)
    return [
        attack,
        checkpoints,
        weakest([world.holder(state) for state in ways]),
        weakest([world.verifier(state, key=False, memory=True) for state in ways]),
        weakest([world.verifier(state, key=True, memory=False) for state in ways]),
        weakest([world.verifier(state, key=False, memory=False) for state in ways]),
    ]


def row_with_key(world: World, attack: str) -> list[str]:
    """Return a row of the table of the key's holder, who brings everything of his own."""
    state = State(attack, "put in their place", tiles=True, keys=True, delta=True)
    return [
        attack,
        world.verifier(state, key=False, memory=True),
        world.verifier(state, key=True, memory=False),
        world.since(state),
        world.witness(state),
    ]


def tables(folder: Path) -> str:
    """Try everything below `folder`, and return the tables as Markdown."""
    first = World.make(folder / "without", forged_with_key=False)
    second = World.make(folder / "with", forged_with_key=True)
    lines = [
        *_table(
            ["somebody without the key", "checkpoints", *WITHOUT_KEY],
            (row_without_key(first, *each) for each in itertools.product(ATTACKS, CHECKPOINTS)),
        ),
        "",
        *_table(["the key's holder", *WITH_KEY], (row_with_key(second, attack) for attack in ATTACKS)),
    ]
    return "\n".join(lines)


def _table(headers: list[str], rows: Iterator[list[str]]) -> list[str]:
    bar = ["---"] * len(headers)
    return [f"| {' | '.join(row)} |" for row in (headers, bar, *rows)]


START: Final = "<!-- Made by `python -m tests.trust.histories`; edit that. -->\n"
END: Final = "<!-- end -->\n"


def written(page: str, made: str) -> str:
    """Return the page with the tables put into their place."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{made}\n\n{END}{after}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("without", "with"):
            (Path(scratch) / name).mkdir()
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), tables(Path(scratch))), encoding="utf-8")
