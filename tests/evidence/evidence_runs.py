"""Runs written by hand, event by event, so that a ledger made of them has the same bytes every time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from run_evidence.ledger import Event, Ledger
from run_evidence.ledger.model.event import encode
from run_evidence.ledger.model.outcomes import RunEvent, derive_outcomes, outcome_parts
from run_evidence.ledger.model.plan import Plan, PlanItem, plan_parts
from run_evidence.ledger.storage.files import make_folder
from tests.paths import paths

START = 1_776_384_000_000_000  # 2026-04-17T00:00:00Z in microseconds
ORIGIN = "run-evidence-ledger/00000000-0000-4000-8000-000000000001"
DAY = "2026-04-17"

GATE = "week06/factory/manifest_gate"
RAW = "week06/ingestion/raw_ticket_events_partitioned"
FACT = "week06/silver/ticket_fact_partitioned"
LAKE = "week06/external/lakehouse_state"
MART = "week06/external/support_kpi_mart"

Tell = Callable[..., Ledger]
"""The fixture `told`: append the stories of runs to the test's ledger and seal them."""


def fixed_ledger(root: Path) -> Ledger:
    """Make an empty ledger whose origin and clock are always the same."""
    ledger = Ledger(root, clock=lambda: START + 3_600_000_000)
    for folder in paths(ledger).folders:
        make_folder(folder)
    paths(ledger).marker.write_bytes(orjson.dumps({"format": 1, "origin": ORIGIN}))
    return ledger


def step_of(asset_key: str) -> str:
    """Name the step of an asset as Dagster does."""
    return asset_key.replace("/", "__")


def planned(asset_key: str, partition: str | None = DAY, **more: Any) -> PlanItem:
    """Plan an asset."""
    return PlanItem(asset_key, partition, step_key=step_of(asset_key), **more)


def planned_check(name: str, asset_key: str, **more: Any) -> PlanItem:
    """Plan a check of an asset, in a step of its own."""
    return PlanItem(asset_key, None, name, f"{step_of(asset_key)}_{name}", kind="check", **more)


LAKE_ABSENT = PlanItem(
    LAKE, kind="dependency", required=False, reason_code="week04_lakehouse_not_available", reason="no Week04 here"
)
FACTORY = (planned(GATE), planned(RAW), planned(FACT), planned_check("row_count_output_count", FACT), LAKE_ABSENT)
AFTER = {
    step_of(RAW): (step_of(GATE),),
    step_of(FACT): (step_of(RAW),),
    f"{step_of(FACT)}_row_count_output_count": (step_of(FACT),),
}


class Story:
    """One run's events in the order of its log, a millisecond apart."""

    def __init__(self, run_id: str, *, start: int = START, job: str = "week06_data_factory", **tags: str) -> None:
        self.run_id = run_id
        self.start = start
        self.job = job
        self.events: list[Event] = []
        self._records = 0
        self._own("run.seen.v1", {"tags": {"dagster/partition": DAY, **tags}, "status": "STARTED"})

    def _about(self) -> dict[str, Any]:
        return {"store_id": "store-1", "run_id": self.run_id, "job_name": self.job, "trace_id": "trace-1"}

    def _own(self, event_type: str, data: dict[str, Any], **about: Any) -> None:
        moment = self.start + self._records * 1_000
        self.events.append(Event(event_type=event_type, occurred_at=moment, data=data, **self._about(), **about))

    def record(self, event_type: str, data: dict[str, Any] | None = None, **about: Any) -> Story:
        """Add a record of Dagster's log."""
        self._records += 1
        self.events.append(
            Event(
                event_type=event_type,
                occurred_at=self.start + self._records * 1_000,
                storage_id=self._records,
                source_digest=hashlib.sha256(f"{self.run_id}-{self._records}".encode()).hexdigest(),
                data=data or {},
                **self._about(),
                **about,
            )
        )
        return self

    def plan(
        self, items: Sequence[PlanItem] = FACTORY, after: Mapping[str, tuple[str, ...]] | None = None
    ) -> Story:
        """Commit the plan and start the run."""
        for payload in plan_parts(Plan(tuple(items), AFTER if after is None else after)):
            self._own("plan.committed.v1", payload)
        return self.record("run.started.v1")

    def made(self, asset_key: str, partition: str | None = DAY, **measured: Any) -> Story:
        """Run an asset's step to its end."""
        step: dict[str, Any] = {"step_key": step_of(asset_key), "attempt": 1}
        about: dict[str, Any] = {"asset_key": asset_key, "partition": partition, "outcome": "passed"}
        self.record("step.started.v1", **step)
        self.record("asset.materialized.v1", {"metadata": metadata(measured)}, **about, **step)
        return self.record("step.succeeded.v1", **step)

    def observed(self, asset_key: str, **measured: Any) -> Story:
        """Observe an asset."""
        about: dict[str, Any] = {"asset_key": asset_key, "step_key": step_of(asset_key), "outcome": "passed"}
        return self.record("asset.observed.v1", {"metadata": metadata(measured)}, **about)

    def checked(
        self, name: str, asset_key: str, outcome: str = "passed", *, partition: str | None = None, **measured: Any
    ) -> Story:
        """Evaluate a check."""
        step: dict[str, Any] = {"step_key": f"{step_of(asset_key)}_{name}", "attempt": 1}
        severity = "WARN" if outcome == "warned" else "ERROR"
        data: dict[str, Any] = {"severity": severity, "blocking": False, "metadata": metadata(measured)}
        reason = None if outcome == "passed" else f"check_{outcome}"
        about = {"asset_key": asset_key, "check_name": name, "outcome": outcome, "reason_code": reason}
        about["partition"] = partition
        self.record("step.started.v1", **step)
        self.record("check.evaluated.v1", data, **about, **step)
        return self.record("step.succeeded.v1", **step)

    def left_out(self, asset_key: str, reason_code: str, text: str, outcome: str = "skipped") -> Story:
        """Declare a skip; the step then yields nothing."""
        step: dict[str, Any] = {"step_key": step_of(asset_key), "attempt": 1}
        self.record("step.started.v1", **step)
        about: dict[str, Any] = {
            "asset_key": asset_key,
            "partition": DAY,
            "outcome": outcome,
            "reason_code": reason_code,
        }
        self._own("asset.skipped.v1", {"text": text}, **about, **step)
        return self.record("step.succeeded.v1", **step)

    def skipped_step(self, step_key: str) -> Story:
        """Let Dagster skip a step whose input was left out."""
        return self.record("step.skipped.v1", step_key=step_key, outcome="skipped", reason_code="upstream_skipped")

    def failed(self, asset_key: str, message: str, **measured: Any) -> Story:
        """Fail an asset's step."""
        step: dict[str, Any] = {"step_key": step_of(asset_key), "attempt": 1}
        self.record("step.started.v1", **step)
        error = {"class": "ValueError", "message": message}
        data: dict[str, Any] = {
            "error": {"class": "StepError", "message": message, "cause": error},
            "metadata": metadata(measured),
        }
        return self.record("step.failed.v1", data, outcome="failed", reason_code="step_failed", **step)

    def end(self, status: str = "succeeded") -> Story:
        """End the run in Dagster; `failed` and `canceled` state an outcome as capture does."""
        verdict: dict[str, str] = (
            {} if status == "succeeded" else {"outcome": "failed", "reason_code": f"run_{status}"}
        )
        return self.record(f"run.{status}.v1", {"message": f"run {status}"}, **verdict)

    def close(self, revision: int = 1) -> Story:
        """Derive the outcomes and close the run, as capture does after the grace period."""
        for payload in outcome_parts(derive_outcomes([_run_event(event) for event in self.events]), revision):
            self._own("outcomes.derived.v1", payload)
        counts: dict[str, Any] = {"dagster_records": self._records, "ledger_records": self._records, "log_lines": 2}
        more: dict[str, Any] = {"unreadable_records": 0, "last_storage_id": self._records}
        self._own("run.closed.v1", {"revision": revision, "dagster_status": "SUCCESS", **counts, **more})
        return self

    def reopen(self, revision: int = 1) -> Story:
        """Say that records came after the run was closed."""
        self._own("run.reopened.v1", {"revision": revision, "late_storage_ids": [self._records]})
        return self


def _run_event(event: Event) -> RunEvent:
    if event.storage_id is not None:
        return RunEvent.of_record(event)
    names = [name for name in RunEvent.__slots__ if name != "event_id"]
    event_id = encode(event, event.occurred_at).event_id
    return RunEvent(event_id=event_id, **{name: getattr(event, name) for name in names})


def metadata(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Write metadata as capture does: a float as its decimal text, a structure as its JSON text."""
    entries = []
    for label, value in measured.items():
        if isinstance(value, dict | list):
            entries.append({"label": label, "type": "json", "value": orjson.dumps(value).decode()})
        elif isinstance(value, float):
            entries.append({"label": label, "type": "float", "value": repr(value)})
        else:
            kind = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "text"
            entries.append({"label": label, "type": kind, "value": value})
    return entries


COUNTED: dict[str, Any] = {"rows": 119, "null_rate": 0.25, "by_status": {"open": 3}, "reason_codes": []}


def good_run(run_id: str, **more: Any) -> Story:
    """Tell a run of the factory in which everything planned came about, and Week04 is not there."""
    story = Story(run_id, git_sha="0123abcd", **more).plan()
    story.made(GATE, manifest_id="manifest-tickets-20260417-001", batch_id="batch-20260417")
    story.made(RAW, input_row_count=121, output_row_count=121, source_snapshot_id="sha256:aa")
    story.made(FACT, input_row_count=121, output_row_count=119, output_snapshot_id="sha256:bb")
    return story.checked("row_count_output_count", FACT, **COUNTED).end().close()


def failed_run(run_id: str, **more: Any) -> Story:
    """Tell a run whose gate rejects its manifest, with words that try to break a document."""
    story = Story(run_id, **more).plan()
    words = "manifest <b>bad</b> | `x` _y_\n# Next step: deliver it again"
    story.failed(GATE, words, reason_codes=["structured_manifest_missing_or_empty"])
    return story.end("failed").close()


def dry_run(run_id: str, **more: Any) -> Story:
    """Tell a dry run: raw says that it wrote nothing, and Dagster skips what needs it."""
    story = Story(run_id, **more).plan().made(GATE, manifest_id="manifest-tickets-20260417-001")
    story.observed(RAW, input_row_count=118)
    story.left_out(RAW, "dry_run_no_db_write", "dry run: 118 tickets would be ingested")
    story.skipped_step(step_of(FACT)).skipped_step(f"{step_of(FACT)}_row_count_output_count")
    return story.end().close()


def warned_run(run_id: str, **more: Any) -> Story:
    """Tell a run in which a check of severity WARN did not pass, and gave its reason."""
    story = Story(run_id, **more).plan().made(GATE).made(RAW).made(FACT, output_row_count=0)
    codes = ["partition_has_no_seed_rows"]
    return story.checked("row_count_output_count", FACT, "warned", reason_codes=codes, rows=0).end().close()


def open_run(run_id: str, **more: Any) -> Story:
    """Tell a run that is going on: silver is made, its check has not come."""
    return Story(run_id, **more).plan().made(GATE).made(RAW).made(FACT, output_row_count=119)
