"""Whatever is done to a hand-over is refused, with its reason and place; by a consumer that is not ours, too."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from run_evidence.evidence import Refused, accept
from run_evidence.evidence.profile import HOLDING_BACK
from run_evidence.ledger.tlog.keys import format_vkey
from tests.handover.consumer import Consumer, Rejected
from tests.handover.damages import DAMAGES, DAY, NEXT_DAY, PAGE, TO, Damage, World, damaged, refusal, shown, written
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, VKEY

REBUILD = "python -m tests.handover.damages"

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("world"))


def test_the_table_of_the_page_is_what_was_done() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), f"docs/handover.md is stale; rebuild it with: {REBUILD}"
    assert len({damage.what for damage in DAMAGES}) == len(DAMAGES) >= 30


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.what)
def test_a_damage_is_refused_with_its_reason(world: World, damage: Damage, tmp_path: Path) -> None:
    """The code, the file and the member are those that the page tells; the message has what was expected."""
    met = refusal(world, damage, tmp_path)
    assert met is not None, "it was accepted"
    assert (met.code, shown(met.file), met.member) == (damage.code, damage.file, damage.member)
    assert f"({met.code})" in str(met)
    if damage.member:
        assert met.expected != met.got
        assert "expected" in str(met)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.what)
def test_a_consumer_that_knows_the_page_alone_refuses_it_too(world: World, damage: Damage, tmp_path: Path) -> None:
    consumer = Consumer(VKEY, LOG_KEY.name)
    if damage.after_newer:
        consumer.accept(world.root / damage.after, DAY, TO)
    folder = damaged(world, damage, tmp_path / "handover")
    with pytest.raises(Rejected):
        consumer.accept(folder, DAY, TO)


@pytest.mark.parametrize(
    ("folder", "partition", "to", "decision"),
    [
        ("older", DAY, TO, "dry_run_only"),
        ("current", DAY, TO, "proceed_to_week07"),
        ("next day", NEXT_DAY, TO, "proceed_to_week07"),
        ("of another recipient", DAY, "week08", "proceed_to_week07"),
    ],
)
def test_what_is_good_is_accepted_by_both(
    world: World, tmp_path: Path, folder: str, partition: str, to: str, decision: str
) -> None:
    """Each alone, and one after the other where that is the order in which they were handed over."""
    path = world.root / folder
    memory = tmp_path / "memory"
    accepted = accept(path, VKEY, partition=partition, to=to, memory=memory)
    assert accepted.decision == decision
    assert accepted.proceeds == (decision == "proceed_to_week07")
    assert accept(path, VKEY, memory=memory) == accepted, "what was accepted is accepted again"
    assert Consumer(VKEY, LOG_KEY.name).accept(path, partition, to) == decision


def test_who_holds_a_delivery_holds_it_whatever_the_evidence_says(world: World, tmp_path: Path) -> None:
    """The recipient reads who and why, and that nothing may be built on it."""
    accepted, consumer = accept(world.root / "held", VKEY, memory=tmp_path), Consumer(VKEY, LOG_KEY.name)
    assert accepted.sign_off is not None
    assert (accepted.sign_off.decision, accepted.sign_off.actor, accepted.sign_off.reason) == (
        "hold",
        "Ada",
        "as agreed",
    )
    assert (accepted.decision, accepted.proceeds) == ("proceed_to_week07", False)
    assert not any(map(accepted.meets, ("proceed_to_week07", "proceed", *HOLDING_BACK)))
    assert accepted.meets(None)
    assert "hold by Ada" in "\n".join(accepted.lines)
    assert re.match("hold: .*; the evidence says proceed_to_week07$", accepted.lines[0])
    title, *_, readme = (world.root / "held" / "README.md").read_text(encoding="utf-8").partition("\n")
    assert title.endswith(f"{DAY}`: `hold`")
    assert "hold by Ada" in readme
    assert "The evidence says `proceed_to_week07`." in readme
    assert consumer.accept(world.root / "held", DAY, TO) == "hold"
    before = accept(world.root / "before it is held", VKEY)
    assert (before.sign_off, before.proceeds, before.meets("proceed_to_week07")) == (None, True, True)


def test_the_newer_one_is_accepted_after_the_older(world: World, tmp_path: Path) -> None:
    consumer = Consumer(VKEY, LOG_KEY.name)
    for folder in ("older", "current", "current"):
        assert accept(world.root / folder, VKEY, memory=tmp_path).decision == consumer.accept(
            world.root / folder, DAY, TO
        )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Return every value of a document that is no object and no list, with its place."""
    if isinstance(value, dict):
        return [p for name, item in value.items() for p in places(item, (*path, name))]
    if isinstance(value, list):
        return [p for position, item in enumerate(value) for p in places(item, (*path, position))]
    return [(path, value)]


def changes(value: Any) -> list[Any]:
    """Return other values, also such as Python takes for equal."""
    if isinstance(value, bool) or value is None:
        return [not value, "x", 0]
    if isinstance(value, int):
        return [value + 1, -value - 1, str(value), float(value), None]
    if isinstance(value, float):
        return [value + 1, str(value), int(value)]
    return [f"{value}x", value[:-1], value.swapcase() + " ", None, 1]


@pytest.mark.parametrize("folder", ["older", "current", "next day"])
def test_every_single_value_of_the_evidence_is_held(world: World, tmp_path: Path, folder: str) -> None:
    """Whichever is changed, to whatever: refused, and its place is named."""
    source = world.root / folder
    text = (source / "evidence.json").read_text()
    tried = 0
    copy = damaged(world, Damage("", None, "", "", to=folder), tmp_path / "copy")
    for path, value in places(json.loads(text)):
        for changed in (each for each in changes(value) if (type(each), each) != (type(value), value)):
            body = json.loads(text)
            holder = body
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = changed
            (copy / "evidence.json").write_text(json.dumps(body, indent=2, sort_keys=True) + "\n")
            with pytest.raises(Refused) as refused:
                accept(copy, VKEY)
            spelled = "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in path)
            assert (refused.value.code, refused.value.member) == ("file_changed", f"${spelled}"), changed
            tried += 1
    assert tried > 50


@pytest.mark.parametrize("name", ["index.json", "evidence.json", "statement.intoto.json", "checkpoint", "policy"])
def test_no_byte_of_a_file_can_be_changed(world: World, tmp_path: Path, name: str) -> None:
    copy = damaged(world, Damage("", None, "", ""), tmp_path / "copy")
    content = (copy / name).read_bytes()
    for at in range(0, len(content), max(1, len(content) // 150)):
        (copy / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(Refused):
            accept(copy, VKEY)


def test_no_byte_of_the_proof_can_be_changed(world: World, tmp_path: Path) -> None:
    """None that says anything: a hand-over whose proof was changed is not accepted with another meaning."""
    copy = damaged(world, Damage("", None, "", ""), tmp_path / "copy")
    content = (copy / "handover.proof").read_bytes()
    for at in range(0, len(content), 23):
        (copy / "handover.proof").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(Refused):
            accept(copy, VKEY)


def test_a_file_that_is_missing_or_cut_anywhere_is_refused(world: World, tmp_path: Path) -> None:
    copy = damaged(world, Damage("", None, "", ""), tmp_path / "copy")
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert len(files) == 9
    for path in files:
        content = path.read_bytes()
        for length in {0, 1, len(content) // 2, len(content) - 1}:
            path.write_bytes(content[:length])
            with pytest.raises(Refused):
                accept(copy, VKEY)
        path.unlink()
        with pytest.raises(Refused):
            accept(copy, VKEY)
        path.write_bytes(content)
    assert accept(copy, VKEY).proceeds


def test_the_consumer_imports_nothing_of_ours() -> None:
    text = (Path(__file__).parent / "consumer.py").read_text(encoding="utf-8")
    assert "import run_evidence" not in text
    assert "from run_evidence" not in text
    assert "from tests" not in text


def test_a_world_is_made_of_hand_overs_that_hold(world: World) -> None:
    """Else a damage could be refused for what was wrong before it."""
    for folder in ("older", "current", "next day", "of another recipient"):
        assert accept(world.root / folder, VKEY).run_id
    assert accept(world.root / "of another key", format_vkey(OTHER_KEY.verifier())).proceeds
    assert accept(world.root / "of another log", VKEY).origin == "example.com/another"
    assert base64.b64decode(json.loads(world.read("current", "statement.intoto.json"))["payload"])
