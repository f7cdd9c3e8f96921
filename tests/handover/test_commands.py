"""`ledger handover` and `ledger accept`: what they print, their exit codes, and what they load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.delivery import WEEK06
from run_evidence.ledger import Ledger
from run_evidence.ledger.cli import main
from tests.evidence.calling import Said
from tests.evidence.evidence_runs import DAY, START, dry_run, good_run
from tests.handover.damages import DRY, GOOD
from tests.trust.ledgers import VKEY, key_file, signed_ledger

Command = Callable[..., Said]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = signed_ledger(tmp_path / "ledger", [7])
    ledger.append(dry_run(DRY).events)
    return ledger


@pytest.fixture
def command(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the command line where the key is, with a home of its own."""
    monkeypatch.setenv("LEDGER_PROFILE", "pipelines.delivery:WEEK06")
    monkeypatch.setenv("LEDGER_KEY", str(key_file(tmp_path)))
    monkeypatch.setenv("LEDGER_KEY_MEMORY", str(tmp_path / "ledger.memory"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ledger", "--ledger", str(ledger.root), *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return run


def test_a_partition_is_handed_over_and_accepted(command: Command, ledger: Ledger, tmp_path: Path) -> None:
    """0 where it holds, 1 where the decision is not the one that is required, 3 where it is refused."""
    out = str(tmp_path / "out")
    said = command("handover", "--product", WEEK06.product, "--partition", DAY, "--to", "week07", "--out", out)
    assert said.code == 0, said.err
    assert said.out.startswith(f"dry_run_only: {WEEK06.product} {DAY}, run {DRY}\n")
    assert f"ledger accept {out} --key '{VKEY}'" in said.err
    required = ("--require", "proceed_to_week07")
    said = command("accept", out, "--key", VKEY, *required)
    assert (said.code, said.out.splitlines()[-1]) == (1, "not met: proceed_to_week07 was required")
    older = tmp_path / "older"
    (tmp_path / "out").rename(older)

    ledger.append(good_run(GOOD, start=START + 10**9).events)
    said = command("handover", "--partition", DAY, "--to", "week07", "--out", out, "--json")
    assert said.json["decision"] == "proceed_to_week07"
    assert said.json["changed"] is True
    said = command("accept", out, "--key", VKEY, "--partition", DAY, "--to", "week07", *required, "--json")
    assert (said.code, said.json["ok"], said.json["proceeds"], said.json["size"] > 0) == (0, True, True, True)

    said = command("accept", str(older), "--key", VKEY)
    assert said.code == 3
    assert "Refused (older_than_accepted)" in said.err
    assert command("accept", str(older), "--key", VKEY, "--no-memory").code == 0
    assert command("accept", str(older), "--key", VKEY, "--memory", str(tmp_path / "new")).code == 0
    assert command("accept", out, "--key", VKEY, "--partition", "2026-04-18").code == 3


def test_wrong_usage_says_what_to_do(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "out")
    said = command("handover", "--product", "other", "--partition", DAY, "--out", out)
    assert (said.code, WEEK06.product in said.err) == (2, True)
    assert command("accept", out, "--key", "no key").code in {2, 4}
    assert command("accept", out, "--key", VKEY).code == 4
    monkeypatch.delenv("LEDGER_PROFILE")
    said = command("handover", "--partition", DAY, "--out", out)
    assert (said.code, "--profile" in said.err) == (2, True)
    assert not Path(out).exists()


LOADED = """
import json, sys
from run_evidence.ledger.cli import main
try:
    main()
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_accepting_loads_no_database_and_no_orchestrator(command: Command, tmp_path: Path) -> None:
    """So it is there at once, and works where they cannot be loaded."""
    out = str(tmp_path / "out")
    assert command("handover", "--partition", DAY, "--out", out).code == 0
    words = ["accept", out, "--key", VKEY, "--no-memory"]
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "cryptography" in loaded
    assert not loaded & {"duckdb", "pyarrow", "deltalake", "dagster", "msgspec", "re2", "pytz"}
