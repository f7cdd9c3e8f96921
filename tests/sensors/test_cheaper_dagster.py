"""What makes Dagster cheaper in these tests changes nothing of what it records."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
from stores import QUIET

from run_evidence.sensors.dagster_log import source
from tests.cheaper_dagster import CHEAPER

ITS_OWN = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}"  # the run's id
    r"|(?<=pid: )\d+|\d+(?:\.\d+)?(?:ms|s)\b"  # a process, a duration in words
    r'|(?<="timestamp": )[\d.]+|(?<="duration_ms": )[\d.]+'
    r'|(?<="log_key": ")\w+|(?<="dagster/data_version": ")\w+'  # which rests on the run's id
)
"""What differs from run to run."""


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
def printed(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    if not context.retry_number:
        raise ValueError("once more")
    print("to the captured output")
    context.log.info("a line")
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset_check(asset=printed)
def few() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False)


@dg.asset(deps=[printed])
def broken() -> None:
    raise ValueError("broken")


def recorded(folder: Path) -> tuple[list[str], dict[str, str], dict[str, Any]]:
    """Return what a run leaves in a new home: its records, what its steps printed, and its row."""
    folder.mkdir()
    (folder / "dagster.yaml").write_text(QUIET)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        run_id = dg.materialize([printed, few, broken], instance=instance, raise_on_error=False).run_id
        texts = [record.text for record in source.read_records(instance, run_id)]
        texts += [record.text for record in source.read_records(instance, "")]
        run = instance.get_run_by_id(run_id)
        assert run is not None
    records = [ITS_OWN.sub("0", text.replace(str(folder), "")) for text in texts]
    files = (folder / "storage" / run_id / "compute_logs").glob("*")
    shown = {path.suffix: path.read_text() for path in files if path.suffix != ".err"}
    return records, shown, {"status": run.status, "tags": run.tags, "steps": run.step_keys_to_execute}


def test_dagster_records_the_same(tmp_path: Path) -> None:
    for change in CHEAPER:
        change.stop()
    try:
        as_it_comes = recorded(tmp_path / "as it comes")
    finally:
        for change in CHEAPER:
            change.start()
    assert recorded(tmp_path / "cheaper") == as_it_comes
    assert len(as_it_comes[0]) > 20
