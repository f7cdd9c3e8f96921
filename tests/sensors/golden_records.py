"""One real record of every kind that Dagster stores, and the event each became: `golden_records.json`.

Rebuild it with `python tests/sensors/golden_records.py [DAGSTER_HOME ...]`; instances named are looked through
as well, for kinds that need a daemon. Stacks and folders are taken out of the records, nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from run_evidence.ledger import Event
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.translate import Correlation, SourceRecord, Translator

FILE = Path(__file__).with_name("golden_records.json")
REBUILD = "python tests/sensors/golden_records.py"


def translated(text: str) -> dict[str, Any]:
    """Return what a record alone becomes, without the members it does not state."""
    translator = Translator("store", "run", Correlation("trace", "release", "batch"), "job")
    event = translator.translate(SourceRecord(1, text))
    assert isinstance(event, Event)
    return {name: value for name, value in asdict(event).items() if value is not None}


def _kind(entry: dict[str, Any]) -> str | None:
    """Tell apart what is translated differently: the type, and what decides about an outcome."""
    happened = entry["dagster_event"]
    if not happened:
        return None
    specific = happened.get("event_specific_data") or {}
    parts = [happened["event_type_value"]]
    if happened["event_type_value"] == "ASSET_CHECK_EVALUATION":
        parts += [
            specific["severity"]["__enum__"].rpartition(".")[2],
            "passed" if specific["success"] else "not_passed",
        ]
    if specific.get("user_failure_data"):
        parts.append("described")
    if specific.get("error"):
        parts.append("error" if not specific["error"].get("cause") else "cause")
    if specific.get("partition") or (specific.get("materialization") or {}).get("partition"):
        parts.append("partition")
    if specific.get("partitions_subset"):
        parts.append("subset")
    return ".".join(parts)


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: [] if key == "stack" else _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, str):
        return value.replace(tempfile.gettempdir(), "/folder").replace(str(Path.cwd()), "/project")
    return value


def _records(instance: dg.DagsterInstance) -> Iterator[dict[str, Any]]:
    for run_id in ["", *(run.run_id for run in reversed(instance.get_runs()))]:
        for record in source.read_records(instance, run_id):
            yield json.loads(record.text)


def collect(instances: list[dg.DagsterInstance]) -> dict[str, str]:
    """Return the text of the first record of each kind."""
    found: dict[str, str] = {}
    for instance in instances:
        for entry in _records(instance):
            kind = _kind(entry)
            if kind and kind not in found:
                text = json.dumps(_cleaned(entry))
                if len(text) < 20_000:
                    found[kind] = text
    return found


def play_everything(folder: Path) -> dg.DagsterInstance:
    """Play all scenarios in one new instance."""
    import mortal
    from scenarios import SCENARIOS, Stage

    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    os.environ |= {"DAGSTER_HOME": str(folder), "STAGE": str(folder)}
    instance = dg.DagsterInstance.from_config(str(folder))
    for scenario in SCENARIOS.values():
        scenario.play(Stage(instance, folder))
    instance.report_runless_asset_event(dg.AssetMaterialization("reported", partition="p"))
    instance.wipe_assets([dg.AssetKey("reported")])
    subprocess.run([sys.executable, mortal.__file__, "killed_step"], check=True)
    with subprocess.Popen([sys.executable, mortal.__file__, "cancelled"]) as process:
        mortal.wait_for(folder / "started")
        instance.report_run_canceling(instance.get_runs(limit=1)[0])
        process.send_signal(signal.SIGINT)
    return instance


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as new:
        played = [play_everything(Path(new)), *(dg.DagsterInstance.from_config(home) for home in sys.argv[1:])]
        kinds = collect(played)
        if FILE.exists():  # kinds that need a daemon stay when no instance with one is named
            kinds = {k: v["text"] for k, v in json.loads(FILE.read_text()).items() if k not in kinds} | kinds
        golden = {kind: {"text": text, "event": translated(text)} for kind, text in sorted(kinds.items())}
        FILE.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
        print(f"{len(golden)} kinds of record in {FILE.name}")
