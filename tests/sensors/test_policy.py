"""The policy: one file for the project and the command line, and the same verdicts wherever history is captured."""

import json
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from holding import outcomes, rows, sync

from run_evidence.ledger import EnvironmentFault, InputError, Ledger, UsageError
from run_evidence.sensors import OptionalDependency, skip, with_ledger
from run_evidence.sensors.capture.policy import Policy
from run_evidence.sensors.capture.policy_file import read_policy
from tests.here import ledger_here

ENTRY = {"asset_key": "lake/house", "reason_code": "lakehouse_not_there", "reason": "Week04 is not set up"}
POLICY = Policy((OptionalDependency(**ENTRY),))
AS_TOML = "[[optional]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in ENTRY.items())


@dg.asset(key=["lake", "house"], output_required=False)
def lakehouse(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
    """Observe what is made elsewhere: passed for an optional dependency, nothing made for a required asset."""
    context.log_event(dg.AssetObservation(["lake", "house"]))
    yield from ()


@dg.asset(key=["lake", "house"], output_required=False)
def not_there(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
    return skip(context, reason_code="lakehouse_not_there", text="gone", outcome="not_available")


@dg.asset
def main() -> None: ...


def written(folder: Path, text: str | bytes, name: str = "policy.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def judged(ledger: Ledger) -> list[tuple[Any, ...]]:
    columns = "asset_key, partition, outcome, verdict, required, reason_code, reason"
    return rows(ledger, f"SELECT {columns} FROM outcomes ORDER BY ALL")


def run_sync(home: Path, ledger: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return ledger_here("--ledger", str(ledger), "sync", "--grace", "0", "--dagster-home", str(home), *more)


@pytest.mark.parametrize("text", [AS_TOML, "﻿" + AS_TOML, "# nothing else\n" + AS_TOML])
def test_a_policy_is_read_from_toml(tmp_path: Path, text: str) -> None:
    """A byte order mark and comments are no part of it."""
    assert read_policy(written(tmp_path, text)) == POLICY


def test_a_policy_is_read_from_json(tmp_path: Path) -> None:
    """The same entries under the same names."""
    assert read_policy(written(tmp_path, json.dumps({"optional": [ENTRY]}), "policy.json")) == POLICY
    assert read_policy(written(tmp_path, "{}", "none.json")) == read_policy(written(tmp_path, "")) == Policy()


def _json(optional: Any) -> str:
    return json.dumps({"optional": optional})


WRONG: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("{", "is not JSON"),
    "a member twice": ('{"optional": [], "optional": []}', "stands twice"),
    "a list": ("[]", "Expected `object`, got `array`"),
    "another member": ('{"optinal": []}', "unknown field `optinal`"),
    "no list": (_json({}), r"Expected `array`, got `object` - at `\$.optional`"),
    "an entry that is text": (_json(["lake/house"]), r"got `str` - at `\$.optional\[0\]`"),
    "no reason": (
        _json([ENTRY, {"asset_key": "a", "reason_code": "abc"}]),
        r"missing required field `reason` - at `\$.optional\[1\]`",
    ),
    "an empty key": (_json([{**ENTRY, "asset_key": " "}]), r"matching regex .* at `\$.optional\[0\].asset_key`"),
    "a number": (_json([{**ENTRY, "reason": 5}]), r"got `int` - at `\$.optional\[0\].reason`"),
    "no code": (_json([{**ENTRY, "reason_code": "No Code"}]), "is not a reason code"),
    "an unknown member": (_json([{**ENTRY, "owner": "me"}]), r"unknown field `owner` - at `\$.optional\[0\]`"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "not UTF-8": (b"\xff\xfe{}", "is not UTF-8"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_policy_that_is_not_one_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    """The error names the file, the entry, and how it is written."""
    text, words = WRONG[kind]
    with pytest.raises(InputError, match=words) as refused:
        read_policy(written(tmp_path, text, "policy.json"))
    assert "policy.json" in str(refused.value)
    assert refused.value.next_step


def test_an_asset_is_named_once(tmp_path: Path) -> None:
    """Two entries about one asset could say two things."""
    with pytest.raises(UsageError, match=r"policy\.toml names lake/house twice"):
        read_policy(written(tmp_path, AS_TOML * 2))
    with pytest.raises(UsageError, match="optional names lake/house twice"):
        with_ledger(dg.Definitions(), optional=POLICY.optional * 2)
    with pytest.raises(UsageError, match="not both"):
        with_ledger(dg.Definitions(), optional=POLICY.optional, policy=written(tmp_path, AS_TOML))


def test_a_policy_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"none\.toml cannot be read: No such file"):
        read_policy(tmp_path / "none.toml")


@pytest.mark.parametrize("asset", [lakehouse, not_there], ids=["observed", "not there"])
def test_a_new_ledger_gives_the_same_verdicts_with_the_same_policy(
    home: Path, instance: dg.DagsterInstance, ledger: Ledger, tmp_path: Path, asset: dg.AssetsDefinition
) -> None:
    """What a project captures under its policy, `sync --policy` derives again from Dagster's history alone."""
    policy = written(tmp_path, AS_TOML)
    defs = with_ledger(dg.Definitions(assets=[asset, main]), ledger=ledger.root, policy=policy)
    assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    sync(instance, ledger)
    again = Ledger(tmp_path / "again")
    done = run_sync(home, again.root, "--policy", str(policy))
    assert done.returncode == 0, done.stderr
    assert judged(again) == judged(ledger)
    assert "counted as required" not in done.stderr
    without = run_sync(home, tmp_path / "without")
    assert judged(Ledger(tmp_path / "without")) != judged(ledger)
    assert ("counted as required" in without.stderr) == (asset is not_there)


def test_the_policy_in_the_ledger_holds_where_none_is_given(
    home: Path, instance: dg.DagsterInstance, ledger: Ledger, tmp_path: Path
) -> None:
    """Declared once on the command line, it reaches `sync`, the hook and the sensors of a project without one."""
    policy = written(tmp_path, AS_TOML)
    assert run_sync(home, ledger.root, "--policy", str(policy)).returncode == 0
    defs = with_ledger(dg.Definitions(assets=[not_there, main]), ledger=ledger.root)
    run_id = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).run_id
    planned = rows(ledger, "SELECT data->>'$.items' FROM events WHERE event_type = 'plan.committed.v1'")
    assert [
        (name, item[name])
        for (items,) in planned
        for item in json.loads(items)
        for name in ("required",)
        if item["asset_key"] == "lake/house"
    ] == [("required", False)]
    assert run_sync(home, ledger.root).returncode == 0
    assert outcomes(ledger, run_id) == {"lake/house": "not_available:lakehouse_not_there", "main": "materialized"}
    assert rows(ledger, "SELECT count(*) FROM events WHERE event_type = 'policy.declared.v1'") == [(1,)]


def test_a_policy_given_again_is_declared_once(home: Path, ledger: Ledger, tmp_path: Path) -> None:
    """It is recorded when it differs from the last; an empty one takes the last one back."""
    policy, none = written(tmp_path, AS_TOML), written(tmp_path, "", "none.toml")
    for file in (policy, policy, none, none):
        assert run_sync(home, ledger.root, "--policy", str(file)).returncode == 0
    declared = "SELECT json_array_length(data->'$.optional') FROM events WHERE event_type = 'policy.declared.v1'"
    assert rows(ledger, f"{declared} ORDER BY index") == [(1,), (0,)]
