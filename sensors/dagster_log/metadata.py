"""Metadata as Dagster stores it becomes plain [{label, type, value}]. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from run_evidence.sensors.dagster_log.names import asset_key_text, distinct_label

_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def metadata_list(entries: Sequence[Any] | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn metadata into [{label, type, value}], each label once (the last wins), in the order recorded.

    A value is a boolean, an integer or text; a float is its shortest decimal text (`nan`, `inf` as they
    are), a structure its JSON text with sorted keys. `type` is Dagster's kind in lower case.
    """
    named = {distinct_label(label): _value(value) for label, value in _pairs(entries)}
    return [{"label": label, "type": kind, "value": value} for label, (kind, value) in named.items()]


def _pairs(entries: Sequence[Any] | Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    if isinstance(entries, Mapping):
        return entries.items()
    return [(entry["label"], entry["entry_data"]) for entry in entries]


def _value(entry: Any) -> tuple[str, bool | int | str | None]:
    if not isinstance(entry, dict) or "__class__" not in entry:
        return "json", _text(entry)
    kind = _kind(str(entry["__class__"]))
    rest = {key: value for key, value in entry.items() if key != "__class__"}
    value = next(iter(rest.values()), None) if len(rest) < 2 else rest
    if kind == "json":
        return kind, _text(value)
    if kind == "asset" and isinstance(value, dict):
        return kind, asset_key_text(value["path"])
    if value is None or isinstance(value, bool | int | str):
        return kind, value
    if isinstance(value, float):
        return kind, repr(value)
    return kind, _text(value)


@lru_cache(maxsize=64)
def _kind(class_name: str) -> str:
    """Name the kind without what Dagster's classes share: `run` for DagsterPipelineRunMetadataEntryData."""
    bare = class_name.removesuffix("MetadataEntryData").removesuffix("MetadataValue").removeprefix("Dagster")
    return _HUMP.sub("_", bare.removeprefix("Pipeline")).lower()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
