"""The document of an index `evidence_index_v1`: every delivery, the state of every asset and partition, every run.

What the views `deliveries`, `assets` and `runs` of one prefix say, which is what the documents say.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from run_evidence.evidence.document import Document, timestamp
from run_evidence.evidence.page.words import DECISIONS, HELD, LETTERS, PROCEEDS, Headline
from run_evidence.evidence.profile import HELD as HELD_BY_PERSON
from run_evidence.evidence.profile import HOLD, HOLDING_BACK
from run_evidence.evidence.words import counted
from run_evidence.ledger import format_vkey, read_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from run_evidence.evidence.prefix import Prefix

SCHEMA_VERSION: Final = "evidence_index_v1"
VIEWS: Final = ("deliveries", "assets")
"""The ledger's views that an index needs beside those of the documents."""

_NO_PARTITION: Final = "no partition"
_HOLDS: Final = frozenset({HOLD, HELD_BY_PERSON})


def index_document(prefix: Prefix) -> Document:
    """Return what an index says of all that a prefix has."""
    deliveries = [_delivery(row) for row in prefix.select("index_deliveries")]
    runs = [_run(row) for row in prefix.select("index_runs")]
    words, sentence = _headline(deliveries, runs)
    named = counted(len(deliveries), "delivery", "deliveries") if deliveries else counted(len(runs), "run")
    head = prefix.head
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "index",
        "headline": {
            "shape": words.shape,
            "word": words.word,
            "tone": words.tone,
            "named": named,
            "sentence": sentence,
        },
        "deliveries": deliveries,
        "map": _map(prefix.select("index_assets")),
        "runs": runs,
        "statement": f"As of the first {prefix.snapshot.sealed} entries of the log.",
        "keys": [format_vkey(record.verifier) for record in read_records(prefix.ledger.store)],
        "provenance": {
            "checkpoint": None
            if head is None
            else {"origin": head.origin, "size": head.size, "root_sha256": head.root.hex()},
            "last_index": prefix.snapshot.sealed - 1,
        },
    }


def _delivery(row: Sequence[Any]) -> Document:
    product, partition, decision, verdict, reason, run_id, sign_off = row
    words = DECISIONS.get(decision, HELD if decision in _HOLDS else PROCEEDS)
    return {
        "product": product,
        "partition": partition or "",
        "decision": decision,
        "shape": words.shape,
        "tone": words.tone,
        "verdict": verdict,
        "reason": reason,
        "run_id": run_id,
        "sign_off": sign_off,
    }


def _run(row: Sequence[Any]) -> Document:
    run_id, job_name, partition, status, verdict, reason, started_at, passed, planned, first_index = row
    return {
        "run": run_id,
        "job_name": job_name,
        "partition": partition,
        "dagster_status": status,
        "verdict": verdict,
        "letter": LETTERS[verdict],
        "reason": reason,
        "started_at": timestamp(started_at)[:19].replace("T", " "),
        "items": f"{passed} of {planned}",
        "first_index": first_index,
    }


def _headline(deliveries: Sequence[Document], runs: Sequence[Document]) -> tuple[Headline, str]:
    """Count the deliveries that may proceed; where nothing is delivered, the runs that passed."""
    if deliveries:
        back = (*HOLDING_BACK, HELD_BY_PERSON)
        held = Counter(each["decision"] for each in deliveries if each["decision"] in back)
        proceed = len(deliveries) - held.total()
        others = [f"{held[name]} {name.replace('_', ' ')}" for name in back if held[name]]
        sentence = ", ".join([f"{proceed} of {len(deliveries)} partitions may proceed", *others])
        return (HELD if held else PROCEEDS), sentence
    verdicts = Counter(each["verdict"] for each in runs)
    others = [f"{count} {verdict.replace('_', ' ')}" for verdict, count in verdicts.items() if verdict != "passed"]
    sentence = ", ".join([f"{verdicts['passed']} of {counted(len(runs), 'run')} passed", *others])
    return (HELD if others or not runs else PROCEEDS), sentence


def _map(rows: Sequence[Sequence[Any]]) -> Document:
    """Return assets × partitions with a letter for each cell, a space where nothing was ever planned."""
    assets = sorted({row[0] for row in rows})
    partitions = sorted({row[1] or _NO_PARTITION for row in rows})
    letter = {(row[0], row[1] or _NO_PARTITION): LETTERS[row[2]] for row in rows}
    return {
        "assets": assets,
        "partitions": partitions,
        "letters": ["".join(letter.get((asset, partition), " ") for partition in partitions) for asset in assets],
    }
