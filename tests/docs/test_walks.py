"""docs/trust.md and docs/operations.md are followed word for word, in a fresh home, by somebody who has no more."""

from __future__ import annotations

import grp
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.verification.verify import verify
from tests.docs.test_blocks import PAGES, ROOT, captured, home, shell, user_environment  # noqa: F401 - a fixture
from tests.ledger.samples import record
from tests.trust.ledgers import signed_ledger

PRINTED = {
    "VKEY": ("ledger key new --name example.com/ledger", r"\S+"),
    "EVENT_ID": ('ledger query "SELECT event_id, event_type FROM events LIMIT 5"', r"[0-9a-f]{8}-[0-9a-f-]{27}"),
    "RUN_ID": ("ledger runs", r"\b[0-9a-f]{8}\b"),
    "DOCUMENT": ("ledger report RUN_ID --out reports", r"\S+\.json"),
    "SIZE": ("ledger report RUN_ID --out reports", r"(?<=_final_)[0-9]+"),
    "NEW_VKEY": ("ledger key new --name example.com/ledger-2", r"\S+"),
    "WITNESS_VKEY": ("ledger key new --witness --name example.com/w1 --out W.key", r"\S+"),
    "ORIGIN": ("ledger status", r"(?<=origin      )\S+"),
    "URL": ("ledger witness serve --key W.key --log ORIGIN=VKEY --state watched", r"http://\S+"),
    "PAYLOAD_EVENT_ID": (
        'ledger query "SELECT event_id, event_type, size_bytes FROM payloads WHERE NOT erased"',
        r"[0-9a-f]{8}-[0-9a-f-]{27}",
    ),
}
"""What stands in capitals on a page: the command that prints it, and how it is found in what that prints."""

CHOSEN = {"GROUP": grp.getgrgid(os.getgid()).gr_name}
"""What the reader has to know."""

_WORDS = re.compile(r"\b(" + "|".join([*PRINTED, *CHOSEN]) + r")\b")


class Walk:
    """One reader of one page: types each line, and takes from what it prints what later lines name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known = dict(CHOSEN)
        self.exports = ""
        self.servers: list[subprocess.Popen[str]] = []

    def type(self, line: str) -> None:
        """Run one line of a page; `export` holds for those that follow, and a server goes on."""
        command = line.partition(" #")[0].rstrip()
        missing = [word for word in _WORDS.findall(command) if word not in self.known]
        assert not missing, f"{command}: nothing before it prints {missing}"
        text = _WORDS.sub(lambda found: self.known[found[0]], command)
        printed = self._serve(text) if " serve " in text else shell(f"{self.exports}{text}", self.folder)
        if text.startswith("export "):
            self.exports += f"{text}\n"
        for word, (prints, pattern) in PRINTED.items():
            if command == prints:
                found = re.search(pattern, printed)
                assert found is not None, f"{command} prints no {word}:\n{printed}"
                self.known[word] = found[0]

    def _serve(self, text: str) -> str:
        """Start what goes on until it is stopped, at a free port, and return the line that it prints when ready."""
        command = ["bash", "-ec", f"{self.exports}exec {text} --port 0"]
        server = subprocess.Popen(
            command, cwd=self.folder, env=user_environment(), stdout=subprocess.PIPE, text=True
        )
        self.servers.append(server)
        assert server.stdout is not None
        return server.stdout.readline()


@contextmanager
def walk(folder: Path) -> Iterator[Walk]:
    folder.mkdir()
    reader = Walk(folder)
    try:
        yield reader
    finally:
        for server in reader.servers:
            server.terminate()
            server.communicate()


def fences(page: str) -> list[tuple[str, str]]:
    """Return the blocks of a page in order: what the fence says that it holds, and the text."""
    return re.findall(r"^```(\S*)\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.M | re.S)


def lines_of(page: str) -> list[str]:
    return [line for kind, text in fences(page) if kind == "console" for line in text.splitlines()]


@dg.asset(key=["crm", "customers"])
def customers() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 3})


@pytest.mark.soak
def test_trust_is_followed_word_for_word(home: Path, tmp_path: Path) -> None:  # noqa: F811
    """Its redaction.json lies in a ledger that has a run; then each command as it is written, in order."""
    ledger = Ledger(home / "ledger")
    ledger.create()
    ((kind, settings),) = [fence for fence in fences("docs/trust.md") if fence[0] != "console"]
    assert kind == "json"
    (ledger.root / "redaction.json").write_text(settings)
    captured(home, [customers])
    with walk(tmp_path / "work") as reader:
        for line in lines_of("docs/trust.md"):
            reader.type(line)
    assert reader.known.keys() == {*PRINTED, *CHOSEN}


@pytest.mark.soak
def test_operations_is_followed_word_for_word(home: Path, tmp_path: Path) -> None:  # noqa: F811
    """In an empty folder, beside a Dagster home that has a run which nobody captured."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert dg.materialize([customers], instance=instance).success
    assert {kind for kind, _ in fences("docs/operations.md")} == {"console"}
    with walk(tmp_path / "work") as reader:
        for line in lines_of("docs/operations.md"):
            reader.type(line)
    assert verify(Ledger(tmp_path / "work" / "COPY")).size > 0


def copying() -> list[str]:
    """Return the lines of docs/operations.md that copy a ledger."""
    (block,) = [text for _, text in fences("docs/operations.md") if "COPY/log" in text]
    return [line for line in block.splitlines() if not line.startswith("ledger")]


@pytest.mark.soak
@pytest.mark.parametrize("gap", range(len(copying()) + 1))
def test_a_seal_while_a_ledger_is_copied_alters_nothing(tmp_path: Path, gap: int) -> None:
    """Wherever it comes: nothing that was acknowledged before is lost, and what the copy lacks is a checkpoint."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 9])
    ledger.append([record(100)])
    lines = copying()
    for at in range(len(lines) + 1):
        if at == gap:
            ledger.append([record(101, data={"message": "x" * 40_000})])  # its payload is a file of its own
            ledger.seal()
        if at < len(lines):
            shell(lines[at], tmp_path)
    copy = Ledger(tmp_path / "COPY")
    found = verify(copy)
    assert {finding.kind for finding in found.findings} <= {"not covered"}, found.findings
    copy.seal()
    assert copy.log().size >= 10
    assert {finding.kind for finding in verify(copy).findings} <= {"not covered"}


HELP = (ROOT / "docs" / "cli.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_commands_and_options_that_are_there(page: Path) -> None:
    """Every `ledger …` in a page's text, down to its options."""
    wrong = []
    for text in re.findall(r"`(ledger [a-z][^`]*)`", page.read_text("utf-8")):
        words = text.split()
        name = next((n for n in (" ".join(words[:3]), " ".join(words[:2])) if f"# {n}\n" in HELP), None)
        if name is None:
            wrong.append(text)
            continue
        section = re.split(r"^#+ ", HELP.partition(f"# {name}\n")[2], maxsplit=1, flags=re.M)[0]
        wrong += [f"{text}: {option}" for option in re.findall(r"--[a-z-]+", text) if option not in section]
    assert wrong == []
