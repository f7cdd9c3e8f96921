"""How to capture, and what came of it: the small types that every path shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from run_evidence.ledger import Json, Ledger, bounded, canonical, is_identifier
from run_evidence.sensors.capture.policy import Policy
from run_evidence.sensors.dagster_log.names import short_name
from run_evidence.sensors.dagster_log.source import RunFacts
from run_evidence.sensors.dagster_log.translate import Correlation

DEFAULT_GRACE_SECONDS: Final = 60.0
"""How long after its end a run is read once more before it is closed: late records are normal in Dagster."""

_MAX_TAG_BYTES: Final = 24_000
_MAX_TAG_TEXT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Captured:
    """What one capture of a run did: the records Dagster has, the events appended, and how far the run is.

    `ended`: its log has a terminal record. `closed`: it was read whole after the grace period. `unnamed`: assets
    that said they are not available and that no policy names, so they count as required. `paused`: it was not read
    to its end, because the time was over.
    """

    run_id: str
    records: int
    log_lines: int
    appended: int
    unreadable: int
    ended: bool
    closed: bool
    unnamed: tuple[str, ...] = ()
    paused: bool = False


@dataclass(frozen=True, slots=True)
class CaptureContext:
    """How to capture: where to, what may be missing, and what to say where a run carries no tags.

    `defaults` is for processes that run in the release they name (a step, a code location); a historical
    `sync` has none. `grace_seconds` is counted from the run's terminal record, by the ledger's clock. Plain
    log lines are counted; with `log_lines` they are kept too, each as an event of the ledger's own.
    """

    ledger: Ledger
    policy: Policy | None = None
    defaults: Correlation = field(default_factory=Correlation)
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    log_lines: bool = False


def correlation_of(facts: RunFacts, defaults: Correlation, seen: Mapping[str, Any] | None = None) -> Correlation:
    """Take the ids from the run's tags, else from those recorded when the run was first seen, else the defaults.

    A `traceparent` tag (W3C) gives its trace id when there is no `trace_id` tag; the run id itself is the last
    resort. The first ids stay, so that a later capture from elsewhere gives the same. A text that a program
    writes where it has no value ("None", "null", "nan") is no id.
    """
    tags = {name: value for name, value in facts.tags.items() if is_identifier(value)}
    said = seen or {}
    parent = tags.get("traceparent", "").split("-")
    from_parent = parent[1] if len(parent) == 4 and len(parent[1]) == 32 else None
    return Correlation(
        trace_id=(
            short_name(tags.get("trace_id") or from_parent)
            or said.get("trace_id")
            or short_name(defaults.trace_id or facts.run_id.replace("-", "") or None)
        ),
        release_id=short_name(tags.get("release_id")) or said.get("release_id") or short_name(defaults.release_id),
        batch_id=short_name(tags.get("batch_id")) or said.get("batch_id") or short_name(defaults.batch_id),
    )


def tag_snapshot(tags: Mapping[str, str]) -> dict[str, Json]:
    """Return a run's tags as they go into an event: the same tags always give the same value.

    A value longer than 1,000 characters is cut and gets its digest; tags beyond 24,000 bytes are counted.
    """
    kept: dict[str, Json] = {}
    left_out = size = 0
    for key, value in sorted(tags.items()):
        pair = bounded({key: value if len(value) <= _MAX_TAG_TEXT else short_name(value)})
        size += len(canonical(pair))
        if size <= _MAX_TAG_BYTES and isinstance(pair, dict):
            kept |= pair
        else:
            left_out += 1
    return {"tags": kept, "tags_left_out": left_out} if left_out else {"tags": kept}
