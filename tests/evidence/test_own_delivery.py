"""A project that is not Week06 declares what it delivers, and a run without a profile is asked nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from calling import Call
from evidence_runs import DAY, START, Story, Tell, good_run, planned, planned_check

from pipelines.delivery import WEEK06
from run_evidence.evidence import (
    DeliveryProfile,
    Field,
    find_profile,
    reports_folder,
    write_delivery_summary,
    write_documents,
    write_run_documents,
)
from run_evidence.evidence.profile import FRAME
from run_evidence.ledger import IntegrityError, Ledger, UsageError
from run_evidence.ledger.model.plan import PlanItem
from tests.here import ledger_here

HOUR = 3_600_000_000
RAW, ORDERS, RATES = "shop/raw_orders", "shop/orders", "bank/rates"
SHOP = DeliveryProfile(
    name="shop",
    title="Orders of *the* shop",
    contract="shop_orders_v3",
    product=ORDERS,
    key_prefix="shop/",
    proceed="ready_for_finance",
    dry_run_code="nothing_written",
    optional=(RATES,),
    fields=(
        Field("orders_read", "count", ("assets", f"asset:{RAW}"), told="order read"),
        Field("orders_written", "count", ("product",), told="order written"),
        Field("file", told="file"),
        Field("rates_of", "id", (f"asset:{RATES}",)),
        Field("ticket", sources=("tag:ticket",)),
        Field("trace", sources=("trace_id",)),
    ),
    folder="out/shop",
    folder_variable="SHOP_REPORTS",
)
ITEMS = (
    planned(RAW),
    planned(ORDERS),
    planned_check("complete", ORDERS),
    PlanItem(RATES, kind="dependency", required=False, reason_code="no_rates", reason="the bank sent none"),
)


def shop_run(run_id: str, **tags: str) -> Story:
    """Tell a run of the shop in which all went well, and there were no rates."""
    story = Story(run_id, job="shop", **tags).plan(ITEMS, {}).made(RAW, orders_read=120, file="o.csv")
    return story.made(ORDERS, orders_written=1).checked("complete", ORDERS).end().close()


def only(told: Tell, folder: Path, story: Story, profile: DeliveryProfile = SHOP) -> dict[str, Any]:
    """Write the documents of a run and read its one hand-over document."""
    written = write_run_documents(told(story), story.run_id, folder, profile=profile)
    (path,) = written.evidence
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    return document


def test_the_document_has_the_frame_and_the_profiles_fields(told: Tell, tmp_path: Path) -> None:
    document = only(told, tmp_path, shop_run("run-1", ticket="T-7"))
    own = {name: value for name, value in document.items() if name not in FRAME}
    assert own == {
        "orders_read": 120,
        "orders_written": 1,
        "file": "o.csv",
        "rates_of": None,
        "ticket": "T-7",
        "trace": "trace-1",
    }
    assert {*FRAME} <= document.keys()
    assert (document["evidence_schema_version"], document["asset_key"]) == ("shop_orders_v3", ORDERS)
    assert (document["status"], document["downstream_decision"]) == ("success", "ready_for_finance")


@pytest.mark.parametrize(
    ("code", "decision"), [("nothing_written", "dry_run_only"), ("dry_run_no_db_write", "manual_review_required")]
)
def test_a_dry_run_is_told_by_the_profiles_own_code(told: Tell, tmp_path: Path, code: str, decision: str) -> None:
    story = Story("run-1").plan([planned(RAW), planned(ORDERS)], {}).made(RAW).left_out(ORDERS, code, "dry")
    assert only(told, tmp_path, story.end().close())["downstream_decision"] == decision


@pytest.mark.parametrize(
    ("stated", "decision"), [("ready_for_finance", "ready_for_finance"), ("hold_downstream", "hold_downstream")]
)
def test_a_stated_decision_is_one_of_the_profiles(told: Tell, tmp_path: Path, stated: str, decision: str) -> None:
    story = Story("run-1").plan([planned(ORDERS)], {}).made(ORDERS, downstream_decision=stated)
    assert only(told, tmp_path, story.end().close())["downstream_decision"] == decision


def test_a_field_of_an_asset_is_of_the_partition_that_is_handed_over(told: Tell, tmp_path: Path) -> None:
    """Two days in one run: neither has the other's rates, and what has no partition is both days'."""
    profile = replace(
        SHOP, fields=(Field("rates_of", sources=(f"asset:{RATES}",)), Field("of", sources=("asset:x",)))
    )
    days = ("2026-04-16", "2026-04-17")
    story = (
        Story("run-1")
        .plan([planned(key, day) for day in days for key in (RATES, ORDERS)], {})
        .observed("x", of="all")
    )
    for day in days:
        story.made(RATES, day, rates_of=f"rates of {day}").made(ORDERS, day)
    written = write_run_documents(told(story.end().close()), "run-1", tmp_path, profile=profile)
    found = [orjson.loads(path.read_bytes()) for path in written.evidence]
    assert [document["rates_of"] for document in found] == [f"rates of {day}" for day in days]
    assert [document["of"] for document in found] == ["all", "all"]


def test_partitions_are_what_the_profile_says(told: Tell, tmp_path: Path) -> None:
    """Regions instead of days; one that is no plain file name becomes its digest there, and itself inside."""
    profile = replace(SHOP, partitions="eu/.*|us")
    items = [planned(ORDERS, region) for region in ("eu/../west", "us", DAY)]
    story = Story("run-1").plan(items, {})
    for item in items:
        story.made(ORDERS, item.partition)
    ledger = told(story.end().close())
    written = write_run_documents(ledger, "run-1", tmp_path, profile=profile)
    keys = [orjson.loads(path.read_bytes())["partition_key"] for path in written.evidence]
    assert keys == ["eu/../west", "us"]
    assert {path.parent for path in written.evidence} == {tmp_path / "run_evidence"}
    assert (
        "Of 2 partitions, 2 may proceed"
        in write_delivery_summary(ledger, tmp_path, profile=profile).kept.read_text()
    )


@pytest.mark.soak
def test_two_deliveries_of_one_ledger_know_nothing_of_each_other(told: Tell, tmp_path: Path) -> None:
    ledger = told(shop_run("run-1"), good_run("run-2", start=START + HOUR))
    failed = write_documents(ledger, ["run-1", "run-2"], tmp_path / "shop", SHOP)
    assert failed == write_documents(ledger, ["run-1", "run-2", WEEK06.summary], tmp_path / "week06", WEEK06) == {}
    for name, run_id, other in (("shop", "run-1", "run-2"), ("week06", "run-2", "run-1")):
        (evidence,) = (tmp_path / name / "run_evidence").iterdir()
        assert run_id in evidence.name
        summary = (tmp_path / name / f"{name}_delivery_summary.md").read_text()
        assert (f"`{run_id}`" in summary, f"`{other}`" in summary) == (True, False)


def test_the_delivery_summary_is_in_the_profiles_words(told: Tell, tmp_path: Path) -> None:
    """One of one is no plural; a title is text and no Markdown; the file goes by the profile's name."""
    written = write_delivery_summary(told(shop_run("run-1")), tmp_path, profile=SHOP)
    assert written.latest == tmp_path / "shop_delivery_summary.md"
    text = written.latest.read_text()
    assert text.startswith("# Orders of \\*the\\* shop\n")
    assert "Of 1 partition, 1 may proceed (`ready_for_finance`)." in text
    assert "`materialized`: 120 orders read, 1 order written, file `o.csv`\n" in text
    assert "SQL `evidence/sql/planned_partitions.sql`" in text


def test_a_summary_under_an_earlier_title_is_ours(told: Tell, tmp_path: Path) -> None:
    """As it was written it is replaced; where somebody edited it too, nothing tells it from notes."""
    ledger = told(shop_run("run-1"))
    write_delivery_summary(ledger, tmp_path, profile=SHOP)
    told(shop_run("run-2"))
    newer = write_delivery_summary(ledger, tmp_path, profile=replace(SHOP, title="Orders"))
    assert newer.latest is not None
    assert newer.latest.read_bytes() == newer.kept.read_bytes()
    newer.latest.write_text(newer.latest.read_text() + "a remark")
    with pytest.raises(IntegrityError, match="other content"):
        write_delivery_summary(ledger, tmp_path, profile=SHOP)


def test_a_run_is_written_with_and_without_a_profile_into_one_folder(told: Tell, tmp_path: Path) -> None:
    """What a profile adds to the summary of a run is in another file; a run that delivers nothing has one."""
    ledger = told(shop_run("run-1"))
    plain = write_run_documents(ledger, "run-1", tmp_path)
    assert plain.evidence == ()
    assert b"ready_for_finance" not in plain.summary.read_bytes()
    delivered = write_run_documents(ledger, "run-1", tmp_path, profile=SHOP)
    assert b"ready_for_finance" in delivered.summary.read_bytes()
    assert delivered.report == plain.report
    assert write_run_documents(ledger, "run-1", tmp_path, profile=WEEK06) == plain


def test_without_a_profile_a_run_is_reported_as_any_other(
    told: Tell, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a run of Week06: no hand-over document, no decision, none of its folders; stderr says how to."""
    told(good_run("run-1"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEEK06_REPORT_DIR", str(tmp_path / "not_here"))
    monkeypatch.delenv("LEDGER_PROFILE")
    said = call("report", "run-1")
    assert (said.code, [Path(line).parent.as_posix() for line in said.out.splitlines()]) == (
        0,
        ["reports/run_report", "reports/summaries"],
    )
    assert "need a delivery profile" in said.err
    assert "--profile MODULE:ATTRIBUTE" in said.err
    assert "docs/delivery.md" in said.err
    assert not (tmp_path / "not_here").exists()
    assert "decision" not in call("show", "run-1").out
    assert "decision" in call("show", "run-1", "--profile", "pipelines.delivery:WEEK06").out


def test_a_delivery_summary_without_a_profile_says_how_to_declare_one(told: Tell, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a delivery profile") as caught:
        write_delivery_summary(told(good_run("run-1")), tmp_path)
    assert "docs/delivery.md" in str(caught.value.next_step)
    assert list(tmp_path.glob("*.md")) == []


def test_a_run_that_has_no_part_in_the_delivery_is_said_to_have_none(
    told: Tell, call: Call, tmp_path: Path
) -> None:
    told(shop_run("run-1"))
    said = call("report", "run-1", "--out", str(tmp_path))
    assert "run run-1 planned no partition of the delivery week06" in said.err
    assert call("report", "run-1", "--out", str(tmp_path), "--json").json["delivery"] is None


PROJECT = """
from run_evidence.evidence import DeliveryProfile, Field

print("loaded")
SHOP = DeliveryProfile(
    name="shop", title="Shop", contract="shop_v1", product="shop/orders", key_prefix="shop/", proceed="go_on",
    fields=(Field("orders_written", "count", ("product",)),), folder="out/shop", folder_variable="SHOP_REPORTS",
)
NOT_ONE = "shop"
class Holder: INNER = SHOP
"""
COMMAND = Path(sys.executable).with_name("ledger")


def ledger_command(
    ledger: Ledger, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder, which is on no path."""
    return subprocess.run(
        [COMMAND, "--ledger", str(ledger.root), *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def here(project: tuple[Ledger, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command in the project's folder, in this process, which forgets the project's modules afterwards."""
    ledger, folder = project
    monkeypatch.chdir(folder)
    for name in ("shop", "shop.delivery", *(path.stem for path in folder.glob("*.py"))):
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return ledger_here("--ledger", str(ledger.root), *arguments, env={"HOME": str(folder), **environment})

    return run


@pytest.fixture
def project(told: Tell, tmp_path: Path) -> tuple[Ledger, Path]:
    """Make a project with a profile, and a ledger with a run of it."""
    folder = tmp_path / "project"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "delivery.py").write_text(PROJECT)
    (folder / "broken.py").write_text("import a_module_that_is_missing\n")
    (folder / "raises.py").write_text("raise ValueError('no such thing')\n")
    (folder / "leaves.py").write_text("raise SystemExit(0)\n")
    (folder / "wrong.py").write_text(PROJECT.replace('"go_on"', '"hold_downstream"'))
    return told(shop_run("run-1")), folder


@pytest.mark.soak
def test_the_command_finds_a_profile_in_the_projects_folder(
    project: tuple[Ledger, Path], here: Callable[..., Any]
) -> None:
    """By the option, else by the variable; documents go where the folder's variable says, else to the folder."""
    ledger, folder = project
    named = ledger_command(ledger, folder, "report", "run-1", "--profile", "shop.delivery:SHOP")
    assert (named.returncode, named.stderr) == (0, "")
    evidence = next(line for line in named.stdout.splitlines() if line.startswith("out/shop/run_evidence/"))
    assert orjson.loads((folder / evidence).read_bytes())["downstream_decision"] == "go_on"
    assert (folder / "out/shop/shop_delivery_summary.md").read_text().startswith("# Shop\n")
    settings = {"LEDGER_PROFILE": "shop.delivery:Holder.INNER", "SHOP_REPORTS": "elsewhere"}
    assert "elsewhere/run_evidence/" in here("report", "run-1", **settings).stdout
    assert "decision   go_on" in here("show", "run-1", **settings).stdout
    stronger = here("show", "run-1", "--profile", "nothing", **settings)
    assert (stronger.returncode, "profile nothing" in stronger.stderr) == (2, True)


ERRORS: Mapping[str, tuple[str, str]] = {
    "shop": ("no installed delivery profile shop", "--profile MODULE:ATTRIBUTE"),
    "shop.delivery:": ("not MODULE:ATTRIBUTE", "--profile my_project.delivery:ORDERS"),
    ":SHOP": ("not MODULE:ATTRIBUTE", "--profile my_project.delivery:ORDERS"),
    ".shop:SHOP": ("not MODULE:ATTRIBUTE", "--profile my_project.delivery:ORDERS"),
    "nowhere:SHOP": ("no module nowhere", "in the project's folder"),
    "shop.nowhere:SHOP": ("no module shop.nowhere", "in the project's folder"),
    "shop.delivery:SHIP": ("has no SHIP; its profiles: SHOP", "name an attribute"),
    "shop.delivery:NOT_ONE": ("of type str", "DeliveryProfile"),
    "shop.delivery:Holder": ("of type type", "DeliveryProfile"),
    "broken:SHOP": ("No module named 'a_module_that_is_missing'", 'python -c "import broken"'),
    "raises:SHOP": ("ValueError: no such thing", 'python -c "import raises"'),
    "leaves:SHOP": ("SystemExit: 0", 'python -c "import leaves"'),
    "wrong:SHOP": ("its proceed is hold_downstream, which holds", "docs/delivery.md"),
}


@pytest.mark.parametrize("named", ERRORS)
def test_what_is_no_profile_is_named_with_the_next_step(
    project: tuple[Ledger, Path], here: Callable[..., Any], named: str
) -> None:
    """Before anything is read or written, exit code 2 and no traceback; from the variable alike, which is named."""
    _, folder = project
    problem, next_step = ERRORS[named]
    by_option = here("report", "run-1", "--profile", named)
    by_variable = here("show", "run-1", LEDGER_PROFILE=named)
    for done in (by_option, by_variable):
        assert done.returncode == 2, done.stderr
        error, step = done.stderr.splitlines()
        assert problem in error
        assert next_step in step
    assert not (folder / "out").exists()
    assert not (folder / "reports").exists()


def test_the_projects_folder_is_searched_only_for_the_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Afterwards the path is what it was, so that nothing of the project stands in the way of what comes later."""
    (tmp_path / "a_shop_of_this_test.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    found = find_profile("a_shop_of_this_test:SHOP", {})
    assert found is not None
    assert (found.name, sys.path) == ("shop", before)
    assert find_profile(None, {}) is None
    assert find_profile(None, {"LEDGER_PROFILE": ""}) is None


@pytest.mark.parametrize("installed", [["shop.delivery:SHOP"], ["shop.delivery:SHOP", "other:SHOP"]])
def test_an_installed_profile_goes_by_its_name(
    project: tuple[Ledger, Path], tmp_path: Path, installed: list[str]
) -> None:
    """From anywhere; two of one name are distinct, and neither is taken."""
    ledger, folder = project
    for number, place in enumerate(installed):
        about = folder / f"shop_{number}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shop-{number}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[run_evidence.profiles]\nshop = {place}\n")
    elsewhere = {"PYTHONPATH": str(folder)}
    done = ledger_command(ledger, tmp_path, "show", "run-1", "--profile", "shop", **elsewhere)
    if len(installed) == 1:
        assert "decision   go_on" in done.stdout
        other = ledger_command(ledger, tmp_path, "show", "run-1", "--profile", "shopp", **elsewhere)
        assert "those installed: shop." in other.stderr
    else:
        assert done.returncode == 2
        assert "other:SHOP, shop.delivery:SHOP" in done.stderr


def test_documents_go_to_the_profiles_folder_unless_its_variable_names_another() -> None:
    assert reports_folder(SHOP, {}) == reports_folder(SHOP, {"SHOP_REPORTS": ""}) == Path("out/shop")
    assert reports_folder(SHOP, {"SHOP_REPORTS": "elsewhere"}) == Path("elsewhere")
    assert reports_folder(replace(SHOP, folder_variable=None), {"SHOP_REPORTS": "elsewhere"}) == Path("out/shop")


WRONG: Mapping[str, dict[str, Any]] = {
    "its name": {"name": "Shop orders"},
    "its title is not one line": {"title": "a\nb"},
    "its contract is not one line": {"contract": ""},
    "does not begin with its key_prefix": {"key_prefix": "week06/"},
    "its proceed is no reason code": {"proceed": "Go!"},
    "which holds a partition back": {"proceed": "dry_run_only"},
    "is hold, which holds": {"proceed": "hold"},
    "its dry_run_code is no reason code": {"dry_run_code": ""},
    "among its optional assets": {"optional": (ORDERS,)},
    "not a tuple of asset keys": {"optional": RATES},
    "it has 2 fields file": {"fields": (Field("file"), Field("file", "id"))},
    "no regular expression": {"partitions": "("},
}


@pytest.mark.parametrize("problem", WRONG)
def test_a_profile_that_cannot_be_one_is_refused_when_it_is_declared(problem: str) -> None:
    with pytest.raises(UsageError, match="delivery profile") as caught:
        replace(SHOP, **WRONG[problem])
    assert problem in str(caught.value)


WRONG_FIELDS: Mapping[str, dict[str, Any]] = {
    "not named in lower-case": {"name": "Orders read"},
    "in every hand-over document already": {"name": "status"},
    "of kind 'number'": {"name": "a", "kind": "number"},
    "no tuple of sources": {"name": "a", "sources": ()},
    "has no tuple": {"name": "a", "sources": "product"},
    "a source 'metadata', which is none": {"name": "a", "sources": ("product", "metadata")},
    "a source 'asset:', which is none": {"name": "a", "sources": ("asset:",)},
    "is a count, and tag:rows is text": {"name": "a", "kind": "count", "sources": ("assets", "tag:rows")},
}


@pytest.mark.parametrize("problem", WRONG_FIELDS)
def test_a_field_that_cannot_be_one_is_refused(problem: str) -> None:
    with pytest.raises(UsageError, match="of a delivery profile") as caught:
        Field(**WRONG_FIELDS[problem])
    assert problem in str(caught.value)
