"""Any order of hooks, sensors, syncs, crashes, late records and deletions ends where one clean pass does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import dagster as dg
import pytest
from history import RunScript, script_of, write_materialization
from holding import assert_each_item_has_one_outcome, rows
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from scenarios import Stage, checks, declared_skip
from stores import QUIET

from run_evidence.ledger import Event, Ledger, LedgerError
from run_evidence.ledger.sealing.seal import Sealed
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.cursor_sensor import SensorCursor, tick
from run_evidence.sensors.attach.hook import HookState, capture_new_records
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.capture.policy import OptionalDependency, Policy
from run_evidence.sensors.sync import sync_runs

POLICY = Policy((OptionalDependency("lake/house", "lakehouse_not_there", "Week04 is not set up"),))
GRACE_SECONDS = 60.0
PROCESSES = st.integers(0, 1)
RUNS = st.integers(0, 3)


class CrashError(LedgerError):
    """The process died here."""


class RefusedError(LedgerError):
    """The store refused; the process lives on."""


class Mortal(Ledger):
    """A ledger whose user dies before or after its next append or seal, or is refused, when told to."""

    dies: str | None = None

    def append(self, events: Iterable[Event], *, personal: bool = False) -> int:
        """Append, unless the process dies before; or die after."""
        if self._now("refused"):
            raise RefusedError("refused")
        if self._now("before append"):
            raise CrashError("before append")
        count = super().append(events, personal=personal)
        if self._now("after append"):
            raise CrashError("after append")
        return count

    def seal(self) -> Sealed:
        """Seal, unless the process dies before."""
        if self._now("before seal"):
            raise CrashError("before seal")
        return super().seal()

    def _now(self, place: str) -> bool:
        if self.dies != place:
            return False
        self.dies = None
        return True


class Interleaving(RuleBasedStateMachine):
    """Two processes of each kind work on one ledger while runs go on, end, gain late records and are deleted."""

    home: Path
    scripts: tuple[RunScript, ...]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="interleaving-"))
        shutil.copytree(self.home, self.folder / "dagster")
        self.instance = dg.DagsterInstance.from_config(str(self.folder / "dagster"))
        self.now = round(max(script.entries[-1].timestamp for script in self.scripts) * 1_000_000)
        self.ledger = Mortal(self.folder / "ledger", clock=lambda: self.now)
        self.attachment = Attachment(self.ledger, POLICY, grace_seconds=GRACE_SECONDS, release_id="r1")
        self.cursors = {0: SensorCursor(), 1: SensorCursor()}
        self.tails = {0: HookState(), 1: HookState()}
        self.played: dict[str, tuple[RunScript, int]] = {}
        self.deleted: dict[str, set[tuple[object, ...]]] = {}
        self.late: set[str] = set()

    @initialize()
    def begin(self) -> None:
        """Let both kinds of run be there and have ended, so that every example has something to capture."""
        for script in self.scripts:
            self.played[script.begin(self.instance)] = (script, 0)
        for number in (0, 1):
            self.go_on(number, 100)
        self.attachment.declare([], self.now)  # as a deployment does with its first tick

    def teardown(self) -> None:
        """Give every run its end, let the grace pass, sync once, and compare with one clean pass."""
        try:
            for run_id, (script, position) in self.played.items():
                script.play(self.instance, run_id, position, len(script.entries))
            self.now += 3_600_000_000
            self.ledger.dies = None
            done = sync_runs(self.instance, self.attachment.capturing())
            assert (done.open_runs, done.troubled) == ((), ())
            clean = Ledger(self.folder / "clean", clock=lambda: self.now)
            sync_runs(self.instance, CaptureContext(clean, POLICY, grace_seconds=GRACE_SECONDS))
            self.compare(clean)
        finally:
            self.instance.dispose()
            shutil.rmtree(self.folder)

    def compare(self, clean: Ledger) -> None:
        """Hold the ledger against one that was made in a single pass at the end."""
        mine, gone = _records(self.ledger), set(self.deleted)
        assert {row for row in mine if row[0] not in gone} == set(_records(clean))
        assert len(mine) == len(set(mine))
        for run_id, before in self.deleted.items():
            assert {row for row in mine if row[0] == run_id} == before
        assert [row for row in _outcomes(self.ledger) if row[0] not in gone] == _outcomes(clean)
        assert [row for row in _skips(self.ledger) if row[0] not in gone] == _skips(clean)
        assert_each_item_has_one_outcome(self.ledger)
        reopened = rows(self.ledger, "SELECT DISTINCT run_id FROM events WHERE event_type = 'run.reopened.v1'")
        assert {run_id for (run_id,) in reopened} - gone == self.late - gone
        assert rows(self.ledger, "SELECT * FROM events WHERE event_type = 'record.conflicted.v1'") == []

    def run_id(self, number: int) -> str:
        """Return one of the runs there are."""
        return list(self.played)[number % len(self.played)]

    @precondition(lambda self: len(self.played) < 4)
    @rule(number=st.integers(0, 1))
    def launch(self, number: int) -> None:
        """Dagster adds a run; its log is empty for a moment."""
        script = self.scripts[number]
        self.played[script.begin(self.instance)] = (script, 0)

    @precondition(lambda self: self.played)
    @rule(number=RUNS, count=st.sampled_from([1, 2, 5, 100]))
    def go_on(self, number: int, count: int) -> None:
        """Let a run record its next events."""
        run_id = self.run_id(number)
        script, position = self.played[run_id]
        self.played[run_id] = (script, script.play(self.instance, run_id, position, count))

    @precondition(lambda self: self.played)
    @rule(number=RUNS)
    def come_late(self, number: int) -> None:
        """Let a run that ended record one more event, of which its row tells nothing."""
        run_id = self.run_id(number)
        script, position = self.played[run_id]
        if position >= len(script.entries):
            write_materialization(self.instance, run_id, "late", "late")
            if self.ledger.exists() and rows(
                self.ledger, "SELECT 1 FROM runs WHERE closed AND run_id = $r", r=run_id
            ):
                self.late.add(run_id)

    @precondition(lambda self: self.played)
    @rule(number=RUNS, process=PROCESSES)
    def hook(self, number: int, process: int) -> None:
        """Let a step of the run end in one of two processes."""
        self.survive(
            lambda: capture_new_records(self.tails[process], self.attachment, self.instance, self.run_id(number))
        )

    @rule(process=PROCESSES)
    def restart(self, process: int) -> None:
        """End a process that ran steps; a new one takes its place."""
        self.tails[process] = HookState()

    @precondition(lambda self: self.played)
    @rule(number=RUNS)
    def nudge(self, number: int) -> None:
        """Let a status sensor capture the run."""
        self.survive(lambda: capture_run(self.instance, self.run_id(number), self.attachment.capturing()))

    @rule(process=PROCESSES)
    def sensor(self, process: int) -> None:
        """Let a deployment of the cursor sensor tick."""

        def ticked() -> None:
            self.cursors[process] = tick(self.instance, self.attachment, self.cursors[process])[1]

        self.survive(ticked)

    @rule()
    def sync(self) -> None:
        """Somebody runs `ledger sync`, which knows no release and takes the policy from the ledger."""
        self.survive(lambda: sync_runs(self.instance, CaptureContext(self.ledger, grace_seconds=GRACE_SECONDS)))

    @rule(place=st.sampled_from(["before append", "after append", "before seal", "refused"]))
    def doom(self, place: str) -> None:
        """Let the next process that reaches this place die there."""
        self.ledger.dies = place

    @rule()
    def wait(self) -> None:
        """Let the time of grace pass."""
        self.now += round(GRACE_SECONDS * 1_000_000)

    @precondition(lambda self: len(self.played) > 1)
    @rule(number=RUNS)
    def delete(self, number: int) -> None:
        """Somebody deletes a run from Dagster; what the ledger has of it stays, and nothing is added."""
        run_id = self.run_id(number)
        self.instance.delete_run(run_id)
        del self.played[run_id]
        self.deleted[run_id] = {row for row in _records(self.ledger) if row[0] == run_id}

    def survive(self, work: object) -> None:
        """Do a process's work, which may die on the way."""
        try:
            work()  # type: ignore[operator]
        except CrashError:
            self.tails = {0: HookState(), 1: HookState()}
        except RefusedError:
            return


def _records(ledger: Ledger) -> list[tuple[object, ...]]:
    if not ledger.exists():
        return []
    return rows(
        ledger, "SELECT run_id, storage_id, event_id, source_digest FROM events WHERE storage_id IS NOT NULL"
    )


def _outcomes(ledger: Ledger) -> list[tuple[object, ...]]:
    return rows(ledger, "SELECT * EXCLUDE (basis, derived_in) FROM outcomes ORDER BY ALL")


def _skips(ledger: Ledger) -> list[tuple[object, ...]]:
    return rows(ledger, "SELECT run_id, asset_key, outcome, reason_code FROM skips ORDER BY ALL")


@pytest.mark.soak
def test_any_interleaving_ends_where_one_clean_pass_does(home: Path) -> None:
    """Same records, same outcomes, same skips, whoever captured when and wherever it died."""
    (home / "dagster.yaml").write_text(QUIET)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        stage = Stage(instance, home)
        played = [run_id for play in (declared_skip, checks) for run_id in play(stage)]
        Interleaving.home = home
        Interleaving.scripts = tuple(script_of(instance, run_id) for run_id in played)
        for run_id in played:
            instance.delete_run(run_id)
    run_state_machine_as_test(
        Interleaving, settings=settings(max_examples=8, stateful_step_count=20, deadline=None)
    )
