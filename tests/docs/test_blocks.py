"""What a user may copy from the README and the pages of docs/ is run as it is written."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from run_evidence.evidence.gate_policy_file import read_gate_policy
from run_evidence.ledger import Event, Ledger
from run_evidence.ledger.query.as_of import NOW
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.tlog.keys import COSIGNATURE, ED25519, Signer, format_vkey
from run_evidence.sensors.capture.capture import CaptureContext
from run_evidence.sensors.capture.policy_file import read_policy
from run_evidence.sensors.sync import sync_runs
from tests.paths import paths

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "pipelines" / "README.md", *ROOT.glob("docs/**/*.md")])
WALKED_AS_A_WHOLE = {
    *("docs/trust.md", "docs/operations.md", "docs/delivery.md", "docs/cookbook.md", "docs/exports.md"),
    "docs/factory.md",
}
"""Pages that a test of their own follows from beginning to end: test_walks.py, test_cookbook.py, test_…_page.py."""

SHOWN = {"text"}
"""Fences of what is shown and not to be copied: formats, output."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the page it is of, what its fence says it is, and its text."""

    page: str
    kind: str
    text: str

    @property
    def title(self) -> str:
        return f"{self.page}: {self.text.partition(chr(10))[0][:40]}"


def blocks(*, walked: bool = False) -> list[Block]:
    """Return what may be copied; with `walked` also from the pages that are followed as a whole."""
    found = []
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for kind, text in re.findall(r"^```(\S*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
            found.append(Block(name, kind, text))
    return [b for b in found if b.kind not in SHOWN and (walked or b.page not in WALKED_AS_A_WHOLE)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a user's machine: an empty Dagster home, with nothing else set."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    for name in [name for name in os.environ if name.startswith("LEDGER_")]:
        monkeypatch.delenv(name)
    return folder


def captured(home: Path, assets: list[dg.AssetsDefinition]) -> list[tuple[Any, ...]]:
    """Materialize the assets, capture the run, and return its outcomes."""
    ledger = Ledger(home / "ledger")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert dg.materialize(assets, instance=instance).success
        sync_runs(instance, CaptureContext(ledger, grace_seconds=0))
    with open_snapshot(ledger, NOW, ("outcomes",)) as snapshot:
        return snapshot.rows("SELECT outcome, verdict, reason_code FROM outcomes")


def attach(block: Block, home: Path) -> None:
    """Run the one line, with a project's definitions before it."""
    names: dict[str, Any] = {"defs": dg.Definitions(assets=[dg.AssetSpec("a")])}
    exec(block.text, names)  # noqa: S102 - the README is ours
    assert "ledger_complete" in {sensor.name for sensor in names["defs"].get_repository_def().sensor_defs}


def leave_out(block: Block, home: Path) -> None:
    """Run the asset that leaves itself out, once with what it looks for and once without."""
    for there in (True, False):
        names: dict[str, Any] = {"lakehouse_is_there": lambda there=there: there, "__name__": "of_the_user"}
        exec(block.text, names)  # noqa: S102 - the README is ours
        assets = [value for value in names.values() if isinstance(value, dg.AssetsDefinition)]
        found = captured(home, assets)
    assert sorted(found) == [("materialized", "passed", None), ("not_available", "not_available", "no_report")]


def declare(block: Block, home: Path) -> None:
    """Read the policy, as the project and the command line do."""
    path = home / "policy.toml"
    path.write_text(block.text, encoding="utf-8")
    assert [each.reason_code for each in read_policy(path).optional] == ["week04_lakehouse_not_available"]


def redact(block: Block, home: Path) -> None:
    """Declare it in a ledger, and record what it takes out and what it keeps beside the log."""
    ledger = Ledger(home / "ledger")
    ledger.create()
    paths(ledger).redaction.write_text(block.text, encoding="utf-8")
    told = {"metadata": [{"label": "who", "type": "text", "value": "customer KD-12345678"}]}
    ledger.append([Event(event_type="a.b.v1", occurred_at=1, data=told)])
    about = {
        "store_id": "s",
        "run_id": "r",
        "storage_id": 1,
        "source_digest": "a" * 64,
        "asset_key": "crm/contacts",
    }
    ledger.append([Event(event_type="asset.materialized.v1", occurred_at=1, data=told, **about)])
    recorded = b"".join(path.read_bytes() for path in ledger.root.rglob("*.jsonl"))
    assert b"KD-12345678" not in recorded
    assert b"customer [redacted]" in recorded
    assert len(list(paths(ledger).blobs.iterdir())) == 1


def run_make(block: Block, home: Path) -> None:
    """Ask make what it would do: its targets are run by other tests."""
    for line in block.text.splitlines():
        command = line.partition("#")[0].split()
        done = subprocess.run([*command, "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert command[0] == "make"
        assert done.returncode == 0, done.stderr


def ask(block: Block, home: Path) -> None:
    """Run each command on the ledger of a run, from a user's shell."""

    @dg.asset
    def a() -> None: ...

    captured(home, [a])
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
    for line in block.text.replace("RUN_ID", run.run_id).splitlines():
        shell(line, home)


def find_the_command(block: Block, home: Path) -> None:
    """Type it in a checkout whose demo has run: `ledger` is found, and so is the ledger."""
    (home / ".venv").symlink_to(Path(sys.executable).parents[1])
    Ledger(home / ".demo" / "ledger").create()
    done = subprocess.run(
        ["bash", "-ec", f"{block.text}\ncommand -v ledger\nledger runs"],
        cwd=home,
        env={**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ".venv/bin/ledger" in done.stdout


def launch(block: Block, home: Path) -> None:
    """Launch the factory's job from the command line; only Dagster's UI, which never ends, is left out."""
    text = re.sub("^dagster dev -m", "dagster definitions validate -m", block.text, flags=re.M)
    assert text != block.text
    shell(text, home)
    with dg.DagsterInstance.from_config(str(home / ".demo" / "launched")) as instance:
        (run,) = instance.get_runs()
        assert run.tags["dagster/partition"] == "2026-04-17"
        assert run.status is dg.DagsterRunStatus.QUEUED  # the daemon starts it, and there is none


def shell(text: str, folder: Path) -> str:
    """Run commands in a user's shell, and return what they print; the first that fails ends it."""
    done = subprocess.run(
        ["bash", "-ec", text],
        cwd=folder,
        env=user_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def user_environment() -> dict[str, str]:
    """Return the environment of a shell in which what the documents tell to install is there."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def deliver(home: Path, rows: int, **tags: str) -> None:
    """Deliver the gate page's product in its partition, and capture the run; no rows are a failure."""
    daily = dg.DailyPartitionsDefinition("2026-04-01")

    @dg.asset(key=["shop", "orders"], partitions_def=daily)
    def orders() -> dg.MaterializeResult[Any]:
        if not rows:
            raise ValueError("no rows")
        return dg.MaterializeResult(metadata={"rows": rows})

    with dg.DagsterInstance.from_config(str(home)) as instance:
        day = "2026-04-17"
        dg.materialize([orders], instance=instance, partition_key=day, raise_on_error=False, tags=tags)
        sync_runs(instance, CaptureContext(Ledger(home / "ledger"), grace_seconds=0))
    Ledger(home / "ledger").seal()


def gate_in_ci(block: Block, home: Path) -> None:
    """Run the line as a pipeline would: behind a delivery that is fit, and behind one that is not."""
    (home / "gate.toml").write_text("", encoding="utf-8")
    for rows, said in ((3, "building on it"), (0, "held back")):
        deliver(home, rows)
        printed = subprocess.run(
            ["bash", "-c", block.text],
            cwd=home,
            env=user_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert printed.stdout.splitlines()[-1] == said, printed.stderr
        assert printed.returncode == (0 if rows else 1)


def look_at(block: Block, home: Path) -> None:
    """Write the pages, each of its own."""
    deliver(home, 3, release_id="2026.17")
    made = shell(block.text, home).split()
    assert len(made) == 4
    assert all((home / page).read_bytes().startswith(b"<!DOCTYPE html>") for page in made)


def check_a_page(block: Block, home: Path) -> None:
    """Check a page with the key of its log, and one that somebody changed."""
    deliver(home, 3)
    asked = "--product shop/orders --partition 2026-04-17 -o orders.html"
    vkey = shell(f"ledger key new; ledger seal >&2; ledger page {asked} >&2", home).strip()
    checked = block.text.replace("VKEY", vkey)
    assert shell(checked, home).startswith("ok:")
    page = home / "orders.html"
    page.write_bytes(page.read_bytes().replace(b"PROCEED", b"CHECKED"))
    with pytest.raises(AssertionError, match="the page was changed"):
        shell(checked, home)


def gate_policy(block: Block, home: Path) -> None:
    """Read the policy as it stands, with the keys that the page leaves out."""
    log = format_vkey(Signer("example.com/ledger", ED25519, bytes(32)).verifier())
    witness = format_vkey(Signer("witness.example/w1", COSIGNATURE, bytes([1]) * 32).verifier())
    path = home / "gate.toml"
    path.write_text(block.text.replace("LOG_VKEY", log).replace("WITNESS_VKEY", witness), encoding="utf-8")
    policy = read_gate_policy(path)
    assert policy.trust is not None
    assert policy.trust.quorum == "w1"


def gate_downstream(block: Block, home: Path) -> None:
    """Run the consumer's job behind a delivery that is fit, and behind one that is not."""
    (home / "gate.toml").write_text("", encoding="utf-8")
    here = Path.cwd()
    os.chdir(home)
    try:
        names: dict[str, Any] = {"__name__": "of_the_user"}
        exec(block.text, names)  # noqa: S102 - the page is ours
        for rows in (3, 0):
            deliver(home, rows)
            with dg.DagsterInstance.from_config(str(home)) as instance:
                job = names["defs"].resolve_job_def("build_books")
                run = job.execute_in_process(instance=instance, partition_key="2026-04-17", raise_on_error=False)
            assert run.success is bool(rows)
            assert bool(run.get_asset_materialization_events()) is bool(rows)
    finally:
        os.chdir(here)


def show_in_dagster(block: Block, home: Path) -> None:
    """Run the project's job, and tick its sensors; the asset has the delivery's verdict."""
    names: dict[str, Any] = {"__name__": "of_the_user"}
    here = Path.cwd()
    os.chdir(home)
    try:
        exec(block.text, names)  # noqa: S102 - the page is ours
        defs = names["defs"]
        with dg.DagsterInstance.from_config(str(home)) as instance:
            job = defs.resolve_job_def("deliver")
            run_id = job.execute_in_process(instance=instance, partition_key="2026-04-17").run_id
            sync_runs(instance, CaptureContext(Ledger(home / "ledger"), grace_seconds=0))
            for name in ("ledger_verdicts", "orders_evidence"):
                sensor = defs.get_repository_def().get_sensor_def(name)
                sensor(dg.build_sensor_context(instance=instance, definitions=defs))
            run = instance.get_run_by_id(run_id)
            assert run is not None
            told = (run.tags["ledger/verdict"], run.tags["ledger/decision"])
            assert told == ("passed", "ready_for_finance")
            (found,) = instance.fetch_observations(dg.AssetKey(["shop", "orders_report"]), limit=9).records
    finally:
        os.chdir(here)
    observation = found.event_log_entry.asset_observation
    assert observation is not None
    assert Path(str(observation.metadata["page"].value)).read_bytes().startswith(b"<!DOCTYPE html>")


RUN: dict[str, Callable[[Block, Path], None]] = {
    "README.md: make demo": run_make,
    "README.md: from run_evidence.sensors import with_le": attach,
    "README.md: import dagster as dg": leave_out,
    "README.md: . .venv": find_the_command,
    "README.md: ledger runs": ask,
    "pipelines/README.md: mkdir": launch,
    "docs/capture.md: [[optional]]": declare,
    "docs/dagster.md: make dev": run_make,
    "docs/dagster.md: import dagster as dg": show_in_dagster,
    "docs/gate.md: if ledger gate": gate_in_ci,
    "docs/gate.md: require": gate_policy,
    "docs/gate.md: import dagster as dg": gate_downstream,
    "docs/page.md: ledger page": look_at,
    "docs/page.md: ledger check": check_a_page,
    "docs/redaction.md: {": redact,
}
"""How each block is run, by the page and how the block begins."""


def cases() -> list[Any]:
    """Return the blocks; those that start the programs of a user in a shell take long."""
    slow = (ask, find_the_command, launch, look_at, check_a_page)
    return [
        pytest.param(block, id=block.title, marks=[pytest.mark.soak] if RUN.get(key) in slow else [])
        for block in blocks()
        for key in [next((begins for begins in RUN if block.title.startswith(begins)), "")]
    ]


@pytest.mark.soak
@pytest.mark.parametrize("block", cases())
def test_a_block_runs_as_it_is_written(block: Block, home: Path) -> None:
    """Every block has somebody who runs it, or its fence says that it is only shown (```text)."""
    runners = [run for begins, run in RUN.items() if block.title.startswith(begins)]
    assert len(runners) == 1, f"nothing runs the block {block.title!r}: add it to RUN, or fence it as ```text"
    runners[0](block, home)


def test_every_runner_has_a_block() -> None:
    """A block that was renamed or removed leaves no runner behind that runs nothing."""
    titles = [block.title for block in blocks()]
    assert [begins for begins in RUN if not any(title.startswith(begins) for title in titles)] == []


def test_every_fence_says_what_it_holds() -> None:
    """A fence without a word could be either."""
    unnamed = [b.title for b in blocks() if not b.kind]
    assert unnamed == []
