"""The cookbook is run from top to bottom, on a project that has what its questions ask for."""

# Dagster reads a function's annotations, so these are no strings here.

import os
import re
from pathlib import Path

import dagster as dg
import pytest
from test_blocks import Block, blocks, home, shell  # noqa: F401 - `home` is a fixture

from run_evidence.ledger import Ledger
from run_evidence.sensors import declare_partitions
from run_evidence.sensors.capture.capture import CaptureContext
from run_evidence.sensors.sync import sync_runs

DAYS = dg.StaticPartitionsDefinition(["2026-04-16", "2026-04-17", "2026-04-18"])


@dg.asset(partitions_def=DAYS)
def orders(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    rows = 120 if context.partition_key == "2026-04-16" else 80
    return dg.MaterializeResult(metadata={"rows": rows}, data_version=dg.DataVersion(f"v{rows}"))


@dg.asset_check(asset=orders)
def enough() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False)


@dg.asset(deps=[orders], partitions_def=DAYS)
def report() -> None: ...


EXPECTED = {
    "ledger runs --since": ["failed", "check enough of orders"],
    "ledger compare RUN_A": ["rows: 120 → 80", "data_version: v120 → v80"],
    "ledger compare --release": ["rows: 120 → 80"],
    "ledger runs --release": ["failed"],
    "ledger export": ["run.proof", "entries"],
    "ledger partitions orders": ["2026-04-18", "missing"],
    'ledger query "SELECT step_key': ["orders", "succeeded"],
    'ledger query "SELECT occurred_at': ["120", "80"],
    'ledger query "SELECT asset_key, partition, input_asset_key': ["report", "orders", "2026-04-17"],
}
"""Words that the answer to a question has, by how its command begins."""


@pytest.mark.soak
def test_every_question_has_its_answer(home: Path) -> None:  # noqa: F811
    """Placeholders are exchanged for the runs there are; nothing else is."""
    runs = {}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name, day, release in (("RUN_A", "2026-04-16", "1.0"), ("RUN_B", "2026-04-17", "1.1")):
            done = dg.materialize(
                [orders, enough, report],
                partition_key=day,
                instance=instance,
                tags={"release_id": release},
                raise_on_error=False,
            )
            runs[name] = done.run_id
        ledger = Ledger(home / "ledger")
        sync_runs(instance, CaptureContext(ledger, grace_seconds=0))
        declare_partitions(ledger, dg.Definitions(assets=[orders, report]), instance)
        ledger.seal()
    runs["PATH"] = str(home / "ledger")
    asked = set()
    for block in pages():
        text = re.sub("RUN_A|RUN_B|PATH", lambda found: runs[found[0]], block.text)
        if block.kind == "python":
            exec(text, {})  # noqa: S102 - the page is ours
            continue
        said = shell(text, home)
        for begins in (begins for begins in EXPECTED if block.text.startswith(begins)):
            asked.add(begins)
            assert [word for word in EXPECTED[begins] if word not in said] == [], said
    assert asked == set(EXPECTED)
    assert os.environ["DAGSTER_HOME"] == str(home)


def pages() -> list[Block]:
    """Return the blocks of the page, in order."""
    return [block for block in blocks(walked=True) if block.page == "docs/cookbook.md"]
