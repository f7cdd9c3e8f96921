"""Seeded sample deliveries: one folder a day with a manifest and its tickets, good days and bad.

The same seed gives the same bytes on every machine. What each day is for is fixed by the constants below;
what is in it follows from the seed.

`python -m pipelines.samples FOLDER --until DAY` writes those that have come in by a day; without a day all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from pipelines.ingestion.command import run
from run_evidence.ledger.terminal import out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Record = dict[str, Any]

# The delivery breaks off in the middle of a line: size and checksum differ from its manifest.
BAD_DAY: Final = "2026-04-15"
# Holds tickets that break the contract, one of each kind in `spoil`.
INVALID_DAY: Final = "2026-04-16"
# Nothing wrong with it: every ticket of the day is valid, some repeated, some late. The demo partition.
CLEAN_DAY: Final = "2026-04-17"
# An ordinary day, some of its tickets invalid.
ORDINARY_DAY: Final = "2026-04-18"
# A valid delivery of late tickets only: no ticket was created on the day itself.
EMPTY_DAY: Final = "2026-04-19"
DAYS: Final = (BAD_DAY, INVALID_DAY, CLEAN_DAY, ORDINARY_DAY, EMPTY_DAY)

SOURCE_ID: Final = "structured:tickets:helpdesk_export"
DEFAULT_SEED: Final = 20260417
_SPOILED_DAYS: Final = (INVALID_DAY, ORDINARY_DAY)
# Customers write from these offsets, in hours: text of a timestamp and partition then disagree.
_OFFSETS_HOURS: Final = (0, 0, 0, 8, -5, 2)
_TOPICS: Final = (
    ("connectivity", "northstar_edge_gateway", "EG-3000 4.8.1", "drops its uplink after a firmware upgrade"),
    ("authentication", "northstar_workspace", "Workspace 2026.04", "single sign-on callback fails"),
    ("billing", "cross_product", "Workspace 2026.04", "is billed twice for one seat"),
    ("performance", "northstar_studio", "Studio 9.1", "opens large projects slowly"),
    ("documentation", "northstar_workspace", "Workspace 2026.04", "manual names a menu that is gone"),
)


@dataclass(frozen=True, slots=True)
class SampleDelivery:
    """One day's folder as written. `ticket_count` counts the lines before anything was cut off."""

    day: str
    folder: Path
    ticket_count: int


def make_deliveries(
    root: Path, *, seed: int = DEFAULT_SEED, tickets_per_day: int = 170, days: tuple[str, ...] = DAYS
) -> tuple[SampleDelivery, ...]:
    """Write `root/<day>/{manifest.json,tickets.jsonl}` for the given days, replacing what is there.

    A day's bytes depend on the seed and `tickets_per_day` only, not on which days are written: writing fewer
    days shows the world before the later deliveries came in.
    """
    lines = _deliver(Random(seed), tickets_per_day)  # noqa: S311 - samples need repeatability, not secrecy
    return tuple(_write_delivery(root, day, lines[day]) for day in DAYS if day in days)


def _deliver(random: Random, tickets_per_day: int) -> dict[str, list[bytes]]:
    """Decide what arrives on which day: mostly the day's own tickets, then repeats, updates and late ones."""
    arriving: dict[str, list[Record]] = {day: [] for day in DAYS}
    for index, day in enumerate(DAYS):
        if day == EMPTY_DAY:
            continue
        for number in range(1, tickets_per_day + 1):
            ticket = make_ticket(random, day, number)
            delay_days = random.choices((0, 1, 2), (92, 6, 2))[0]
            arriving[_day_after(index, delay_days)].append(ticket)
            if random.random() < 0.08:  # somebody worked on it; the newer version may well arrive first
                update = _update(random, ticket)
                updated_on = DAYS.index(update["updated_at"][:10])
                arriving[_day_after(updated_on, random.randrange(2))].append(update)
    lines: dict[str, list[bytes]] = {}
    for day, tickets in arriving.items():
        stamped = [{**ticket, "ingest_batch_id": _batch_id(day)} for ticket in tickets]
        repeats = [ticket for ticket in stamped if random.random() < 0.03]
        spoiled = spoil(random, day, tickets_per_day) if day in _SPOILED_DAYS else []
        rows = stamped + repeats + spoiled
        random.shuffle(rows)
        lines[day] = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
    return lines


def _day_after(index: int, days: int) -> str:
    return DAYS[min(index + days, len(DAYS) - 1)]


def make_ticket(random: Random, day: str, number: int) -> Record:
    """Make the ticket of this number that was created on this day; it belongs to no batch yet."""
    category, product_line, version, complaint = random.choice(_TOPICS)
    # the first and the last ticket stand on the edges of the day
    second = {1: 0, 2: 86_399}.get(number, random.randrange(86_400))
    created = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(seconds=second)
    offset = timezone(timedelta(hours=random.choice(_OFFSETS_HOURS)))
    customer = random.randrange(1, 60)
    return {
        "ticket_id": f"TKT-{day.replace('-', '')}-{number:06d}",
        "schema_version": "ticket_v1",
        "source_id": SOURCE_ID,
        "ingest_batch_id": "",  # known once it is known which delivery the ticket comes with
        "customer_id": f"cus_northstar_{customer:03d}",
        "org_id": f"org_northstar_{customer % 12:02d}",
        "status": random.choice(("open", "pending", "in_progress")),
        "priority": random.choices(("p1_critical", "p2_high", "p3_medium", "p4_low"), (1, 3, 8, 4))[0],
        "category": category,
        "product_line": product_line,
        "product_version": version,
        "subject": f"{version}: {complaint}",
        "description": f"Synthetic ticket {number} of {day}: {complaint}. Отвечено / 已回复.",
        "error_codes": [f"NS-{random.randrange(1000):03d}"] if random.random() < 0.5 else [],
        "asset_ids": [],
        "assignee_id": random.choice((None, "agent_lina", "agent_mo")),
        "sla_tier": random.choice(("enterprise", "professional", "standard", "free")),
        "sla_due_at": _text(created + timedelta(hours=24)),
        "created_at": _text(created.astimezone(offset)),
        "updated_at": _text(created + timedelta(minutes=random.randrange(1, 60))),
        "resolved_at": None,
        "pii_level": random.choice(("none", "low")),
        "pii_redacted": True,
        "quality_gate": "pass",
        "owner": "data-platform",
        "tags": ["synthetic"],
    }


def _update(random: Random, ticket: Record) -> Record:
    """Write a newer version of a ticket, up to a day after the last one."""
    updated = datetime.fromisoformat(ticket["updated_at"]) + timedelta(hours=random.randrange(1, 20))
    status = random.choice(("escalated", "resolved", "closed"))
    resolved_at = None if status == "escalated" else _text(updated)
    return {**ticket, "status": status, "updated_at": _text(updated), "resolved_at": resolved_at}


def spoil(random: Random, day: str, tickets_per_day: int) -> list[Record]:
    """Make tickets that each break the contract in one way."""

    def broken(number: int, **changes: object) -> Record:
        ticket = make_ticket(random, day, tickets_per_day + number)
        changed = {**ticket, "ingest_batch_id": _batch_id(day), **changes}
        return {name: value for name, value in changed.items() if value != "(left out)"}

    return [
        broken(1, customer_id="(left out)"),
        broken(2, owner=None),
        broken(3, status="waiting"),
        broken(4, internal_score="7"),
        broken(5, created_at=f"{day} 10:00"),
        broken(6, tags="urgent"),
        broken(7, subject="x" * 513),
    ]


def _write_delivery(root: Path, day: str, lines: list[bytes]) -> SampleDelivery:
    folder = root / day
    folder.mkdir(parents=True, exist_ok=True)
    contents = b"".join(lines)
    manifest = json.dumps(_manifest(day, contents), ensure_ascii=False, indent=2) + "\n"
    (folder / "manifest.json").write_text(manifest, encoding="utf-8", newline="\n")
    arrived = contents[: len(contents) * 3 // 5] if day == BAD_DAY else contents
    (folder / "tickets.jsonl").write_bytes(arrived)
    return SampleDelivery(day, folder, len(lines))


def _manifest(day: str, contents: bytes) -> Record:
    compact = day.replace("-", "")
    return {
        "manifest_id": f"manifest-tickets-daily-{compact}-001",
        "schema_version": "source_manifest_v1",
        "batch_id": _batch_id(day),
        "modality": "structured",
        "source_type": "ticket_export",
        "product_line": "cross_product",
        "license_tag": "course_synthetic",
        "contract_ref": "omni://contracts/data/ticket/v1",
        "load_mode": "incremental_cursor",
        "gate_policy": {
            "on_missing_checksum": "reject",
            "on_partial_metadata": "warn",
            "on_missing_metadata": "quarantine",
            "on_pii_gap": "quarantine",
            "on_contract_mismatch": "reject",
            "on_unknown_license": "reject",
        },
        "assets": [
            {
                "source_id": SOURCE_ID,
                "source_url_or_path": "tickets.jsonl",
                "asset_type": "jsonl",
                "size_bytes": len(contents),
                "checksum_sha256": hashlib.sha256(contents).hexdigest(),
                "metadata_status": "complete",
                "pii_scan_status": "redacted",
                "notes": "synthetic tickets, made by pipelines.samples",
            }
        ],
        "created_at": f"{day}T23:59:59Z",
        "owner": "data-platform",
    }


def _batch_id(day: str) -> str:
    return f"batch-{day.replace('-', '')}-001"


def _text(instant: datetime) -> str:
    """Write a time with the offset it has, in whole seconds."""
    text = instant.isoformat()
    return text.replace("+00:00", "Z") if instant.tzinfo is UTC else text


def main(arguments: Sequence[str], _environ: Mapping[str, str]) -> int:
    """Write the deliveries that have come in by a day, and print what each folder holds."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.samples", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the deliveries go, a folder a day")
    parser.add_argument("--until", choices=DAYS, default=DAYS[-1], help="the last day that has been delivered")
    given = parser.parse_args(arguments)
    for each in make_deliveries(given.folder, days=DAYS[: DAYS.index(given.until) + 1]):
        out(f"{each.folder}: manifest.json, tickets.jsonl of {each.ticket_count} tickets")
    return 0


if __name__ == "__main__":
    run(main)
