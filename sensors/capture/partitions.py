"""What partitions a project's assets have by their definitions, recorded so that a missing one can be named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from run_evidence.ledger import (
    PARTITIONS_DECLARED,
    Event,
    Extent,
    Json,
    OwnEvent,
    extent_data,
    extent_digest,
    of_keys,
)
from run_evidence.sensors.dagster_log.names import asset_key_text, short_name
from run_evidence.sensors.dagster_log.source import RUNLESS

if TYPE_CHECKING:
    from dagster import DagsterInstance, Definitions, PartitionsDefinition, RepositoryDefinition

    from run_evidence.ledger import Ledger

_CADENCES: Final = {"HOURLY": "hourly", "DAILY": "daily", "WEEKLY": "weekly", "MONTHLY": "monthly"}
_AT_ONCE: Final = 500
"""Assets that one event names: an entry stays small."""

_DYNAMIC_US: Final = 3_600_000_000
"""How long dynamic keys stand as they were recorded: all of them are recorded when one comes."""


def declare_partitions(
    ledger: Ledger, project: Definitions | RepositoryDefinition, instance: DagsterInstance
) -> int:
    """Record which partitions the assets of a project have, of those whose are not recorded so.

    The cursor sensor does it at each tick. Returns how many events that took. Raises: what `Ledger.append` raises.
    """
    import dagster as dg

    repository = project.get_repository_def() if isinstance(project, dg.Definitions) else project
    extents = extents_of(repository, instance)
    events = partitions_declared(extents, ledger.known([RUNLESS])[RUNLESS].own, ledger.clock())
    return ledger.append(events)


def extents_of(repository: RepositoryDefinition, instance: DagsterInstance) -> dict[str, Extent]:
    """Return the extent of every asset that runs can materialize, by its key."""
    graph = repository.asset_graph
    known: dict[int, Extent] = {}
    found = {}
    for key in sorted(graph.materializable_asset_keys):
        definition = graph.get(key).partitions_def
        if id(definition) not in known:
            known[id(definition)] = extent_of(definition, instance)
        found[asset_key_text(key.path)] = known[id(definition)]
    return found


def extent_of(definition: PartitionsDefinition[Any] | None, instance: DagsterInstance) -> Extent:
    """Return the extent of a definition. Dynamic keys are those there are now."""
    import dagster as dg

    if definition is None:
        return Extent(kind="none")
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return _windows(definition)
    names: Mapping[type, Any] = {
        dg.StaticPartitionsDefinition: "static",
        dg.DynamicPartitionsDefinition: "dynamic",
        dg.MultiPartitionsDefinition: "multi",
    }
    kind: Any = next((name for of, name in names.items() if isinstance(definition, of)), "other")
    if kind == "other" or (isinstance(definition, dg.DynamicPartitionsDefinition) and not definition.name):
        return Extent(kind="other")
    keys = definition.get_partition_keys(dynamic_partitions_store=instance)
    return of_keys(kind, [short_name(key) or "" for key in keys])


def _windows(definition: Any) -> Extent:
    """Return windows by their cadence; of one that is none of Dagster's four, or leaves some out, only the kind."""
    schedule = definition.schedule_type
    cadence: Any = _CADENCES.get(schedule.name, "") if schedule else ""
    if not cadence or definition.end_offset < 0 or definition.exclusions:
        return Extent(kind="windows")
    return Extent(
        kind="windows",
        start=_microseconds(definition.start),
        end=_microseconds(definition.end) if definition.end else None,
        cadence=cadence,
        minute=definition.minute_offset,
        hour=0 if cadence == "hourly" else definition.hour_offset,
        day=definition.day_offset if cadence in {"weekly", "monthly"} else 0,
        timezone=definition.timezone,
        format=definition.fmt,
        end_offset=definition.end_offset,
    )


def _microseconds(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1_000_000)


def partitions_declared(extents: Mapping[str, Extent], own: Iterable[OwnEvent], declared_at: int) -> list[Event]:
    """Return the events that declare the extents which are not those declared last, one for the assets of each."""
    last: dict[Any, tuple[Any, int]] = {}
    for event in own:
        if event.event_type == PARTITIONS_DECLARED:
            keys = event.data.get("asset_keys")
            said = (event.data.get("sha256"), event.occurred_at)
            last |= dict.fromkeys(keys if isinstance(keys, list) else (), said)
    changed: dict[str, list[str]] = defaultdict(list)
    of_digest = {extent_digest(extent): extent for extent in extents.values()}
    for key, extent in extents.items():
        digest, (declared, at) = extent_digest(extent), last.get(key, (None, 0))
        if declared != digest and (extent.kind != "dynamic" or declared_at - at >= _DYNAMIC_US):
            changed[digest].append(key)
    return [
        _event(of_digest[digest], digest, keys[first : first + _AT_ONCE], declared_at)
        for digest, keys in changed.items()
        for first in range(0, len(keys), _AT_ONCE)
    ]


def _event(extent: Extent, digest: str, asset_keys: list[str], declared_at: int) -> Event:
    named: list[Json] = list(asset_keys)
    data: dict[str, Json] = {"asset_keys": named, "extent": extent_data(extent), "sha256": digest}
    return Event(event_type=PARTITIONS_DECLARED, occurred_at=declared_at, run_id="", data=data)
