"""One record of Dagster's log, as stored, becomes one event. Pure: text in, event out, no Dagster imported.

What is stored is Dagster's own serialisation, which it must itself read back years later; that makes it a
steadier contract than its Python classes, and reading it costs a tenth of rebuilding the objects.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ledger import Event, InputError
from sensors.vocabulary import EVENT_TYPES, SKIP_LABEL, UNLISTED

_MAX_TEXT: Final = 2_000  # characters kept of a message; the digest covers the whole record
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

        Raises `InputError` naming run and id when the text is not a record of Dagster's.
        """
        try:
            entry = orjson.loads(record.text.encode("utf-8", "replace"))
            happened = entry["dagster_event"]
            return self._event(record, entry, happened) if happened else None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"Record {record.storage_id} of run {self._run_id} is not a Dagster event log entry: {error!r}.",
                next_step="ledger reconcile; if Dagster shows this run, report the record as a bug",
            ) from None

    def _event(self, record: SourceRecord, entry: dict[str, Any], happened: dict[str, Any]) -> Event:
        name = happened["event_type_value"]
        event_type = EVENT_TYPES.get(name, UNLISTED)
        step_key = happened.get("step_key") or entry.get("step_key")
        specific = happened.get("event_specific_data") or {}
        data: dict[str, Any] = {
            "dagster_event_type": name,
            "message": (happened.get("message") or entry.get("user_message") or "")[:_MAX_TEXT],
        }
        about = _about(event_type, specific, data)
        outcome, reason_code = about.verdict or _OUTCOMES.get(event_type) or (None, None)
        return Event(
            event_type=event_type,
            occurred_at=round(entry["timestamp"] * 1_000_000),
            store_id=self._store_id,
            run_id=self._run_id,
            storage_id=record.storage_id,
            job_name=happened.get("pipeline_name") or entry.get("pipeline_name") or self._job_name,
            step_key=step_key,
            attempt=self._attempt(event_type, step_key),
            asset_key=about.asset_key,
            partition=about.partition,
            check_name=about.check_name,
            trace_id=self._correlation.trace_id,
            release_id=self._correlation.release_id,
            batch_id=self._correlation.batch_id,
            outcome=outcome,
            reason_code=reason_code,
            source_digest=record.digest,
            data=data,
        )

    def _attempt(self, event_type: str, step_key: str | None) -> int | None:
        """Return the step's attempt, from 1; planning events come before any attempt."""
        if step_key is None or event_type.endswith("_planned.v1"):
            return None
        if event_type == "step.restarted.v1":
            self._attempts[step_key] = self._attempts.get(step_key, 1) + 1
        return self._attempts.setdefault(step_key, 1)


@dataclass(frozen=True, slots=True)
class _About:
    """What a record is about, as far as its kind says so."""

    asset_key: str | None = None
    partition: str | None = None
    check_name: str | None = None
    verdict: tuple[str, str | None] | None = None


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
    _generic(specific, data)
    key = specific.get("asset_key")
    return _About(
        asset_key=asset_key_text(key["path"]) if isinstance(key, dict) else None,
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
        data["description"] = (failure.get("description") or "")[:_MAX_TEXT]
    if reason := specific.get("failure_reason"):
        data["failure_reason"] = str(reason.get("__enum__", reason) if isinstance(reason, dict) else reason)
    if subset := specific.get("partitions_subset"):
        data["partitions_subset"] = json.dumps(subset, sort_keys=True)
    if keys := specific.get("partition_keys"):
        data["partition_keys"] = list(keys)


def _asset_event(event: dict[str, Any], data: dict[str, Any]) -> _About:
    tags = event.get("tags") or {}
    data["metadata"] = metadata_list(event.get("metadata_entries") or ())
    data["tags"] = tags
    data["data_version"] = tags.get("dagster/data_version")
    data["code_version"] = tags.get("dagster/code_version")
    if event.get("description"):
        data["description"] = event["description"][:_MAX_TEXT]
    return _About(asset_key=asset_key_text(event["asset_key"]["path"]), partition=event.get("partition"))


def _check(specific: dict[str, Any], data: dict[str, Any]) -> _About:
    severity = specific["severity"]["__enum__"].rpartition(".")[2]
    metadata = specific.get("metadata") or specific.get("metadata_entries") or ()
    data["metadata"] = metadata_list(metadata)
    data["severity"] = severity
    data["blocking"] = bool(specific.get("blocking"))
    data["passed"] = bool(specific["success"])
    if specific.get("description"):
        data["description"] = specific["description"][:_MAX_TEXT]
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


def asset_key_text(path: Sequence[str]) -> str:
    """Write an asset key as Dagster shows it: its parts joined by slashes."""
    return "/".join(path)


def _error(error: dict[str, Any]) -> dict[str, Any]:
    """Keep an error's class and words, and those of what caused it; a stack may hold values, so it stays out."""
    name = error.get("cls_name")
    message = (error.get("message") or "").strip()
    if name:  # Dagster writes "package.module.Class: words"; the class has its own place
        message = re.sub(rf"^(?:\w+\.)*{re.escape(name)}: ", "", message)
    kept: dict[str, Any] = {"class": name, "message": message[:_MAX_TEXT]}
    if error.get("cause"):
        kept["cause"] = _error(error["cause"])
    return kept


def metadata_list(entries: Sequence[dict[str, Any]] | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn metadata into [{label, type, value}], each label once, in the order recorded.

    A value is a boolean, an integer or text; a float is its shortest decimal text, a structure its JSON text.
    """
    if isinstance(entries, Mapping):
        pairs = list(entries.items())
    else:
        pairs = [(entry["label"], entry["entry_data"]) for entry in entries]
    named = {label: _value(value) for label, value in pairs}
    return [{"label": label, "type": kind, "value": value} for label, (kind, value) in named.items()]


def _value(entry: Any) -> tuple[str, bool | int | str | None]:
    if not isinstance(entry, dict) or "__class__" not in entry:
        return "json", json.dumps(entry, sort_keys=True, ensure_ascii=False)
    kind = str(entry["__class__"]).removesuffix("MetadataEntryData").removesuffix("MetadataValue").lower()
    rest = {key: value for key, value in entry.items() if key != "__class__"}
    value = next(iter(rest.values())) if len(rest) == 1 else rest
    if kind == "asset" and isinstance(value, dict):
        return kind, asset_key_text(value["path"])
    if value is None or isinstance(value, bool | int | str):
        return kind, value
    if isinstance(value, float):
        return kind, repr(value)
    return kind, json.dumps(value, sort_keys=True, ensure_ascii=False)


def declared_skip(event: Event) -> dict[str, Any] | None:
    """Return what `sensors.skip` declared in this record, if it did."""
    if event.event_type != "engine.reported.v1":
        return None
    metadata = event.data.get("metadata")
    for entry in metadata if isinstance(metadata, list) else ():
        if isinstance(entry, dict) and entry["label"] == SKIP_LABEL:
            declared: dict[str, Any] = json.loads(str(entry["value"]))
            return declared
    return None
