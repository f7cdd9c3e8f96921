"""One record of Dagster's log, as stored, becomes one event. Pure: text in, event out, no Dagster imported.

What is stored is Dagster's own serialisation, which it must itself read back years later; that makes it a
steadier contract than its Python classes, and reading it costs a tenth of rebuilding the objects.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from run_evidence.ledger import MAX_TIME, Event, InputError
from run_evidence.sensors.dagster_log.metadata import metadata_list
from run_evidence.sensors.dagster_log.names import asset_key_text, short_name
from run_evidence.sensors.dagster_log.vocabulary import (
    EVENT_TYPES,
    LEDGER_REPORTED,
    LOG_LINE,
    TOLD_LABEL,
    UNLISTED,
    VERDICT_CHECK,
)

_MAX_TEXT: Final = 2_000  # characters kept of a message; the digest covers the whole record
_MAX_NAMED: Final = 500  # names kept of what an error says went wrong; of more than that, none
_NODE_FAILED: Final = re.compile(r"(?:\b|\x1b\[[0-9;]{0,9}m)(?:Failure|Error) in [a-z_ ]{1,40} (\S{1,300}) \(")
_OUTCOMES: Final[Mapping[str, tuple[str, str | None]]] = {
    "asset.materialized.v1": ("passed", None),
    "asset.observed.v1": ("passed", None),
    "step.failed.v1": ("failed", "step_failed"),
    "step.skipped.v1": ("skipped", "upstream_skipped"),
    "run.failed.v1": ("failed", "run_failed"),
    "run.canceled.v1": ("failed", "run_canceled"),
    "resource.init_failed.v1": ("failed", "resource_init_failed"),
    "hook.errored.v1": ("failed", "hook_errored"),
}
# A step or a run that ended well states no outcome: that a task succeeded does not make an asset ready.


@dataclass(frozen=True, slots=True)
class Correlation:
    """What every event of a run carries so that it can be found: a trace, a release, a batch."""

    trace_id: str | None = None
    release_id: str | None = None
    batch_id: str | None = None


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record of a run's log as Dagster stores it: its id there and its serialised text."""

    storage_id: int
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the stored text, hex."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


class Translator:
    """Translates one run's records, fed in the order of their ids (it counts each step's attempts)."""

    def __init__(self, store_id: str, run_id: str, correlation: Correlation, job_name: str | None = None) -> None:
        self._store_id = store_id
        self._run_id = run_id
        self._correlation = correlation
        self._job_name = job_name
        self._attempts: dict[str, int] = {}

    def translate(self, record: SourceRecord) -> Event | None:
        """Return the record's event; `None` for a plain log line, which carries no Dagster event.

        A record that carries an event is never refused because its details are of a shape this version does
        not know: it becomes `dagster.recorded.v1` and says so in `data.unread`. Raises `InputError` naming
        run and id when the text is not a record of Dagster's at all.
        """
        try:
            # The standard library's parser: Dagster writes NaN, lone surrogates and integers of any length.
            entry = json.loads(record.text)
            happened = entry["dagster_event"]
            if not happened:
                return None
            name = str(happened["event_type_value"])
            occurred_at = _microseconds(entry["timestamp"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(
                f"Record {record.storage_id} of run {self._run_id} is not a Dagster event log entry: {error!r}.",
                next_step="ledger reconcile; if Dagster shows this run, report the record as a bug",
            ) from None
        return self._event(record, entry, happened, name, occurred_at)

    def log_line(self, record: SourceRecord) -> Event:
        """Return a plain log line as an event of the ledger's own; `record` is one `translate` gave `None` for."""
        entry = json.loads(record.text)
        level = entry.get("level")
        return Event(
            event_type=LOG_LINE,
            occurred_at=_microseconds(entry["timestamp"]),
            store_id=self._store_id,
            run_id=self._run_id,
            job_name=_named(entry.get("pipeline_name") or self._job_name),
            step_key=_named(entry.get("step_key")),
            trace_id=self._correlation.trace_id,
            release_id=self._correlation.release_id,
            batch_id=self._correlation.batch_id,
            data={
                "storage_id": record.storage_id,
                "record_digest": record.digest,
                "level": level if isinstance(level, int) else None,
                "message": _cut(entry.get("user_message") or entry.get("message")),
            },
        )

    def _event(
        self, record: SourceRecord, entry: dict[str, Any], happened: dict[str, Any], name: str, occurred_at: int
    ) -> Event:
        event_type = EVENT_TYPES.get(name, UNLISTED)
        data: dict[str, Any] = {
            "dagster_event_type": name,
            "message": _cut(happened.get("message") or entry.get("user_message")),
        }
        details: dict[str, Any] = {}
        try:
            about = _about(event_type, happened.get("event_specific_data") or {}, details)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            event_type, about = UNLISTED, _About()
            details = {"unread": repr(error)}
        data |= details
        if self._is_own(event_type, about, details):
            event_type, about = LEDGER_REPORTED, replace(about, verdict=(None, None))
        step_key = _named(happened.get("step_key") or entry.get("step_key"))
        outcome, reason_code = about.verdict or _OUTCOMES.get(event_type) or (None, None)
        return Event(
            event_type=event_type,
            occurred_at=occurred_at,
            store_id=self._store_id,
            run_id=self._run_id,
            storage_id=record.storage_id,
            job_name=_named(happened.get("pipeline_name") or entry.get("pipeline_name") or self._job_name),
            step_key=step_key,
            attempt=self._attempt(event_type, step_key),
            asset_key=short_name(about.asset_key),
            partition=short_name(about.partition),
            check_name=short_name(about.check_name),
            trace_id=self._correlation.trace_id,
            release_id=self._correlation.release_id,
            batch_id=self._correlation.batch_id,
            outcome=outcome,
            reason_code=reason_code,
            source_digest=record.digest,
            data=data,
        )

    def _is_own(self, event_type: str, about: _About, details: Mapping[str, Any]) -> bool:
        """Tell a record of the ledger's own. A materialization is never one, nor an observation made in a run.

        An evaluation has the label too: a check of the project's that has the name by chance is no check of ours.
        """
        labels = {entry["label"] for entry in details.get("metadata") or ()}
        if about.check_name is not None:
            labelled = event_type != "check.evaluated.v1" or TOLD_LABEL in labels
            return about.check_name == VERDICT_CHECK and labelled
        return event_type == "asset.observed.v1" and not self._run_id and TOLD_LABEL in labels

    def _attempt(self, event_type: str, step_key: str | None) -> int | None:
        """Return the step's attempt, from 1; planning events come before any attempt."""
        if step_key is None or event_type.endswith("_planned.v1"):
            return None
        if event_type == "step.restarted.v1":
            self._attempts[step_key] = self._attempts.get(step_key, 1) + 1
        return self._attempts.setdefault(step_key, 1)


def _microseconds(timestamp: Any) -> int:
    """Return a record's time in integer microseconds. Raises `ValueError` when it is no time since 1970."""
    moment = round(float(timestamp) * 1_000_000)
    if not 0 <= moment <= MAX_TIME:
        raise ValueError(f"timestamp {timestamp!r}")
    return moment


def _named(value: Any) -> str | None:
    """Return a name that may be missing; what is no text is no name."""
    return short_name(value) if isinstance(value, str) else None


def _cut(text: Any) -> str:
    return str(text or "")[:_MAX_TEXT]


@dataclass(frozen=True, slots=True)
class _About:
    """What a record is about, as far as its kind says so."""

    asset_key: str | None = None
    partition: str | None = None
    check_name: str | None = None
    verdict: tuple[str | None, str | None] | None = None

    def __post_init__(self) -> None:
        for name in (self.asset_key, self.partition, self.check_name):
            if name is not None and not isinstance(name, str):
                raise TypeError(f"{name!r} is no name")


def _about(event_type: str, specific: dict[str, Any], data: dict[str, Any]) -> _About:
    """Read the part of a record that depends on its type; fills `data` and returns what it is about."""
    if specific.get("error"):
        data["error"] = _error(specific["error"])
    if event_type == "asset.materialized.v1":
        return _asset_event(specific["materialization"], data)
    if event_type == "asset.observed.v1":
        return _asset_event(specific["asset_observation"], data)
    if event_type == "check.evaluated.v1":
        return _check(specific, data)
    if event_type == "step.expectation_evaluated.v1":
        return _expectation(specific["expectation_result"], data)
    _generic(specific, data)
    key = specific.get("asset_key")
    return _About(
        asset_key=asset_key_text(key["path"]) if key else None,
        partition=specific.get("partition"),
        check_name=specific.get("check_name"),
    )


def _generic(specific: dict[str, Any], data: dict[str, Any]) -> None:
    """Keep what several kinds of record share: metadata, a failure's description, partitions."""
    for name in ("metadata_entries", "metadata"):
        if specific.get(name):
            data["metadata"] = metadata_list(specific[name])
    if failure := specific.get("user_failure_data"):
        data["metadata"] = metadata_list(failure.get("metadata_entries") or ())
        data["description"] = _cut(failure.get("description"))
    if reason := specific.get("failure_reason"):
        data["failure_reason"] = _enum(reason)
    if subset := specific.get("partitions_subset"):
        data["partitions_subset"] = json.dumps(subset, sort_keys=True)
    if keys := specific.get("partition_keys"):
        data["partition_keys"] = [short_name(key) for key in keys]


def _enum(value: Any) -> str:
    return str(value["__enum__"] if isinstance(value, dict) else value)


def _asset_event(event: dict[str, Any], data: dict[str, Any]) -> _About:
    tags = event.get("tags") or {}
    data["metadata"] = metadata_list(event.get("metadata_entries") or ())
    data["tags"] = tags
    data["data_version"] = tags.get("dagster/data_version")
    data["code_version"] = tags.get("dagster/code_version")
    if event.get("description"):
        data["description"] = _cut(event["description"])
    return _About(asset_key=asset_key_text(event["asset_key"]["path"]), partition=event.get("partition"))


def _check(specific: dict[str, Any], data: dict[str, Any]) -> _About:
    severity = _enum(specific["severity"]).rpartition(".")[2]
    metadata = specific.get("metadata") or specific.get("metadata_entries") or ()
    data["metadata"] = metadata_list(metadata)
    data["severity"] = severity
    data["blocking"] = bool(specific.get("blocking"))
    data["passed"] = bool(specific["success"])
    if specific.get("description"):
        data["description"] = _cut(specific["description"])
    if target := specific.get("target_materialization_data"):
        data["target_run_id"] = target["run_id"]
    verdict: tuple[str, str | None] = ("passed", None)
    if not specific["success"]:
        verdict = ("warned", "check_warned") if severity == "WARN" else ("failed", "check_failed")
    return _About(
        asset_key=asset_key_text(specific["asset_key"]["path"]),
        partition=specific.get("partition"),
        check_name=specific["check_name"],
        verdict=verdict,
    )


def _expectation(result: dict[str, Any], data: dict[str, Any]) -> _About:
    """Read a check of Dagster's older API: it has a label and belongs to its step."""
    data["metadata"] = metadata_list(result.get("metadata_entries") or ())
    data["label"] = _named(result.get("label"))
    data["passed"] = bool(result["success"])
    if result.get("description"):
        data["description"] = _cut(result["description"])
    return _About(verdict=("passed", None) if result["success"] else ("failed", "expectation_failed"))


def _error(error: dict[str, Any]) -> dict[str, Any]:
    """Keep an error's class and words, and those of what caused it; a stack may hold values, so it stays out."""
    name = error.get("cls_name")
    message = (error.get("message") or "").strip()
    if name:  # Dagster writes "package.module.Class: words"; the class has its own place
        message = re.sub(rf"^(?:\w+\.)*{re.escape(name)}: ", "", message)
    kept: dict[str, Any] = {"class": name, "message": _cut(message)}
    if name == "DagsterDbtCliRuntimeError":
        # One step builds many models; which of them went wrong stands in dbt's own lines alone.
        names = sorted(set(_NODE_FAILED.findall(message)))
        kept |= {"names": names} if len(names) <= _MAX_NAMED else {}
    if error.get("cause"):
        kept["cause"] = _error(error["cause"])
    return kept
