"""The document of an index as large as anybody wants it."""

from __future__ import annotations

from typing import Any

from run_evidence.evidence.page.index_map import SHAPES


def large(assets: int, partitions: int, runs: int) -> dict[str, Any]:
    """Return an index as large as that."""
    letters = "".join(SHAPES)
    run = {"job_name": "daily", "dagster_status": "succeeded", "verdict": "passed", "letter": "P", "reason": ""}
    days = [f"{2026 + n // 365}-{n % 365:03}" for n in range(partitions)]
    return {
        "schema_version": "evidence_index_v1",
        "kind": "index",
        "headline": {"shape": "●", "word": "PROCEED", "tone": "passed", "named": "n", "sentence": "s"},
        "deliveries": [],
        "map": {
            "assets": [f"layer/{n}/asset" for n in range(assets)],
            "partitions": days,
            "letters": ["".join(letters[(a * 7 + p * p) % 7] for p in range(partitions)) for a in range(assets)],
        },
        "runs": [
            {**run, "run": f"{n:032x}", "partition": days[n % partitions], "started_at": "", "items": "3 of 3"}
            | {"first_index": n}
            for n in range(runs)
        ],
        "statement": "",
        "keys": [],
        "provenance": {"checkpoint": None, "last_index": 0},
    }
