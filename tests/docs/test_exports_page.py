"""docs/exports.md is followed word for word, and its format of another package is found."""

from __future__ import annotations

import tomllib
from pathlib import Path

import dagster as dg
import orjson
import pytest
from junitparser import JUnitXml

from tests.docs.test_blocks import captured, home, shell  # noqa: F401 - a fixture
from tests.docs.test_walks import fences, lines_of, walk

PAGE = "docs/exports.md"


@dg.asset
def orders() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"dagster/row_count": 3})


@dg.asset(deps=[orders], output_required=False)
def report() -> None: ...


@pytest.mark.soak
def test_exports_is_followed_word_for_word(home: Path, tmp_path: Path) -> None:  # noqa: F811
    captured(home, [orders, report])
    with walk(tmp_path / "work") as reader:
        for line in lines_of(PAGE):
            reader.type(line)
        folder, run_id = reader.folder, reader.known["RUN_ID"]
    assert JUnitXml.fromstring((folder / "junit.xml").read_bytes()).tests >= 3
    lineage = [orjson.loads(line) for line in (folder / "lineage.ndjson").read_bytes().splitlines()]
    outputs = {output["name"]: output["outputFacets"] for event in lineage for output in event["outputs"]}
    assert outputs["orders"]["outputStatistics"]["rowCount"] == 3
    assert orjson.loads((folder / "events.ndjson").read_bytes().partition(b"\n")[0])["specversion"] == "1.0"

    ((_, module),) = [fence for fence in fences(PAGE) if fence[0] == "python"]
    ((_, settings),) = [fence for fence in fences(PAGE) if fence[0] == "toml"]
    (folder / module.partition("\n")[0].removeprefix("# ")).write_text(module)
    ((group, entries),) = tomllib.loads(settings)["project"]["entry-points"].items()
    about = folder / "shop-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    named = [f"{name} = {place}" for name, place in entries.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *named, ""]))
    assert "one line for each item" in shell("PYTHONPATH=. ledger export --help", folder)
    shell(f"PYTHONPATH=. ledger export todo {run_id}", folder)
