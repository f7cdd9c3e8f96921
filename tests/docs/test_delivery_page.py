"""docs/delivery.md is followed word for word: a project that is not ours declares its delivery, and has it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from run_evidence.evidence import accept
from tests.docs.test_blocks import home, shell  # noqa: F401 - a fixture
from tests.docs.test_walks import fences, lines_of, walk

PAGE = "docs/delivery.md"
TICK = """
import dagster as dg
from shop.definitions import defs
(sensor,) = [s for s in defs.get_repository_def().sensor_defs if s.name == "orders_handed_over"]
with dg.DagsterInstance.get() as instance:
    print(sensor(dg.build_sensor_context(instance=instance)).skip_message)
"""


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write_project(folder: Path) -> None:
    """Write each file of the page; its first line says which it is."""
    for text in (text for kind, text in fences(PAGE) if kind == "python"):
        path = folder / text.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def install(folder: Path) -> None:
    """Put what pyproject.toml says about entry points where an installation does."""
    ((_, text),) = [fence for fence in fences(PAGE) if fence[0] == "toml"]
    ((group, entries),) = tomllib.loads(text)["project"]["entry-points"].items()
    about = folder / "shop-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in entries.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))


@pytest.mark.soak
def test_a_project_has_its_documents_by_command_line_and_by_sensor(home: Path, tmp_path: Path) -> None:  # noqa: F811
    with walk(tmp_path / "work") as reader:
        write_project(reader.folder)
        for line in lines_of(PAGE):
            reader.type(line)
        folder, run_id = reader.folder, reader.known["RUN_ID"]
    reports = folder / "reports" / "orders"
    by_command = files(reports)
    (name,) = [name for name in by_command if name.startswith("run_evidence/2026-04-17_")]
    document: dict[str, Any] = json.loads(by_command[name])
    assert document["run_id"].startswith(run_id)
    assert {
        "evidence_schema_version": "shop_orders_v1",
        "asset_key": "shop/orders",
        "partition_key": "2026-04-17",
        "status": "success",
        "downstream_decision": "ready_for_finance",
        "orders_read": 120,
        "orders_written": 119,
        "source_file": "orders-0417.csv",
        "rates_of": None,
    }.items() <= document.items()
    assert "no_rates_today" in document["reason_codes"]
    assert "ticket" not in document
    assert (reports / document["report_path"]).is_file()
    summary = by_command["orders_delivery_summary.md"].decode()
    assert summary.startswith("# Orders: delivery summary\n")
    assert "1 may proceed (`ready_for_finance`)" in summary
    assert "`materialized`: 120 orders read, 119 orders written, file `orders-0417.csv`" in summary

    handed_over = accept(folder / "handover", reader.known["VKEY"], to="finance")
    assert handed_over.decision == "ready_for_finance"
    assert handed_over.evidence == document

    reports.rename(folder / "by_command")
    assert shell(f"python - <<'END'{TICK}END", folder).startswith("1 runs closed since the last tick")
    assert files(reports) == by_command

    install(folder)
    shell(f"mkdir elsewhere; cd elsewhere; PYTHONPATH=.. ledger report {run_id} --profile orders", folder)
    assert files(folder / "elsewhere" / "reports" / "orders") == by_command
