"""A run as OpenLineage 2-0-2 events: one OpenLineage run for it, and one below it for each of its assets."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from run_evidence.evidence.document import timestamp
from run_evidence.evidence.exports.run import RunExport, needs_extra, owner, standing, why
from run_evidence.evidence.verdict import item_name

if TYPE_CHECKING:
    from run_evidence.evidence.corrections import Correction
    from run_evidence.evidence.recorded_event import Recorded
    from run_evidence.ledger import Outcome

PRODUCER: Final = "urn:run-evidence-ledger:openlineage"
_INPUT_VERSION: Final = "dagster/input_data_version/"
_ROW_COUNT: Final = "dagster/row_count"
_STATUS: Final = {"passed": "pass", "skipped": "skip"}
"""Of a check, in the words of the TestRunFacet; whatever is not here is `fail`."""


def openlineage(run: RunExport) -> bytes:
    """Write OpenLineage RunEvents: COMPLETE is what passed or warned, FAIL what failed, ABORT all else.

    One JSON object a line. An asset's run names its inputs with the versions it used and its output with the rows
    that were recorded; the checks are the TestRunFacet of the run itself. A run that is not closed has no end.
    """
    with needs_extra("openlineage"):
        from openlineage.client.serde import Serde

    lines = (orjson.dumps(Serde.to_dict(event), option=orjson.OPT_SORT_KEYS) for event in _events(run))
    return b"".join(line + b"\n" for line in lines)


def _events(run: RunExport) -> Iterator[Any]:
    facts = run.facts
    job = facts.row.job_name or "run"
    yield _event(run, "START", facts.row.started_at, _uuid(run), job, {})
    for outcome in facts.outcomes:
        if outcome.item.kind not in {"check", "dependency"}:  # what another job makes is no run below this one
            yield from _asset_events(run, job, outcome)
    if facts.final:
        verdict = facts.verdict
        ended = facts.row.ended_at or facts.row.started_at
        reason = None if verdict.verdict == "passed" else verdict.reason
        run_facets = _run_facets(
            verdict.verdict, verdict.reason_code, facts.row.partition, reason, verdict.corrections
        )
        if tests := _tests(run):
            run_facets["test"] = tests
        canceled = facts.row.status == "canceled"
        yield _event(run, "ABORT" if canceled else _end(verdict.verdict), ended, _uuid(run), job, run_facets)


def _end(verdict: str) -> str:
    if verdict in {"passed", "warned"}:
        return "COMPLETE"
    return "FAIL" if verdict == "failed" else "ABORT"


def _asset_events(run: RunExport, job: str, outcome: Outcome) -> Iterator[Any]:
    """Yield the start and the end of what became of one asset in one partition; while the run is open, no end."""
    from openlineage.client.generated.parent_run import Job, ParentRunFacet, Run

    facts, item = run.facts, outcome.item
    parent = ParentRunFacet(Run(_uuid(run)), Job(run.origin, job), producer=PRODUCER)
    run_id = _uuid(run, item.asset_key, item.partition or "", item.kind, item.step_key or "")
    name = f"{job}.{owner(outcome)}"
    resting = facts.rests_on(outcome)
    ended = resting[-1].occurred_at if resting else facts.row.ended_at or facts.row.started_at
    starts = [
        event.occurred_at
        for event in facts.events
        if event.event_type == "step.started.v1" and event.step_key == item.step_key
    ]
    if not facts.final and not starts:
        return
    started = min([*starts, ended])
    yield _event(run, "START", started, run_id, name, {"parent": parent})
    if not facts.final:
        return
    reason = None if outcome.verdict == "passed" else why(outcome)
    run_facets = _run_facets(outcome.outcome, outcome.reason_code, item.partition, reason)
    end = _end(outcome.verdict)
    made = [e for e in resting if e.event_type == "asset.materialized.v1"] if end == "COMPLETE" else []
    yield _event(run, end, ended, run_id, name, {"parent": parent, **run_facets}, made)


def _event(
    run: RunExport,
    kind: str,
    moment: int,
    run_id: str,
    job: str,
    run_facets: dict[str, Any],
    made: list[Recorded] | None = None,
) -> Any:
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

    return RunEvent(
        eventTime=timestamp(moment),
        eventType=RunState(kind),
        run=Run(run_id, run_facets),
        job=Job(run.origin, job),
        inputs=[each for event in made or () for each in _inputs(run, event)],
        outputs=[_output(run, event) for event in made or ()],
        producer=PRODUCER,
    )


def _inputs(run: RunExport, event: Recorded) -> Iterator[Any]:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

    for tag, version in sorted((event.data.get("tags") or {}).items()):
        if tag.startswith(_INPUT_VERSION):
            facets: dict[str, Any] = {"version": DatasetVersionDatasetFacet(str(version), producer=PRODUCER)}
            yield InputDataset(run.origin, tag.removeprefix(_INPUT_VERSION), facets=facets)


def _output(run: RunExport, event: Recorded) -> Any:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
    from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet

    facets: dict[str, Any] = {}
    output_facets: dict[str, Any] = {}
    if version := event.data.get("data_version"):
        facets["version"] = DatasetVersionDatasetFacet(str(version), producer=PRODUCER)
    if (rows := _rows(run, event)) is not None:
        output_facets["outputStatistics"] = OutputStatisticsOutputDatasetFacet(rowCount=rows, producer=PRODUCER)
    return OutputDataset(run.origin, event.asset_key or "", facets=facets, outputFacets=output_facets)


def _rows(run: RunExport, event: Recorded) -> int | None:
    """Return the rows written: by the name that the profile declares, else by Dagster's own; none is guessed."""
    for label in filter(None, (run.rows_written, _ROW_COUNT)):
        rows = event.measured(label)
        if type(rows) is int and rows >= 0:
            return rows
    return None


def _run_facets(
    word: str,
    reason_code: str | None,
    partition: str | None,
    reason: str | None,
    corrections: Sequence[Correction] = (),
) -> dict[str, Any]:
    from openlineage.client.generated.error_message_run import ErrorMessageRunFacet
    from openlineage.client.generated.tags_run import TagsRunFacet, TagsRunFacetFields

    amended = ", ".join(f"{each.action} by {each.actor}: {each.reason}" for each in corrections)
    said = {"outcome": word, "reason_code": reason_code, "partition": partition, "amended": amended}
    tags = [TagsRunFacetFields(name, value, "run-evidence-ledger") for name, value in said.items() if value]
    facets: dict[str, Any] = {"tags": TagsRunFacet(tags, producer=PRODUCER)}
    if reason:
        facets["errorMessage"] = ErrorMessageRunFacet(reason, "PYTHON", producer=PRODUCER)
    return facets


def _tests(run: RunExport) -> Any:
    """Return the checks of a run as a TestRunFacet; what was not evaluated or is unknown is `fail`."""
    from openlineage.client.generated.test_run import TestExecution, TestRunFacet

    tests = []
    for outcome in (o for o in run.facts.outcomes if o.item.kind == "check"):
        stands = standing(outcome, run.facts)
        blocks = outcome.item.required and stands != "warned"
        params = {"outcome": outcome.outcome, "asset_key": outcome.item.asset_key}
        tests.append(
            TestExecution(
                item_name(outcome),
                _STATUS.get(stands, "fail"),
                severity="error" if blocks else "warn",
                description=None if stands == "passed" else why(outcome),
                params=params,
            )
        )
    return TestRunFacet(tests, producer=PRODUCER) if tests else None


def _uuid(run: RunExport, *of: str) -> str:
    """Return the run's own id if it is a UUID, else one made from it; with `of` that of a part of the run."""
    run_id = run.facts.row.run_id
    if not of:
        try:
            return str(uuid.UUID(run_id))
        except ValueError:
            pass
    return str(uuid.uuid5(uuid.NAMESPACE_URL, orjson.dumps([run.origin, run_id, *of]).decode()))
