"""A project declares what it hands over: capture records it, once, and again when it changed."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from holding import rows

from run_evidence.evidence import DeliveryProfile, declared_profiles
from run_evidence.ledger import Ledger, UsageError
from run_evidence.sensors import with_ledger
from tests.here import ledger_here

SHOP = DeliveryProfile(
    name="shop", title="The shop", contract="shop_v1", product="orders", key_prefix="orders", proceed="ready"
)
RETURNS = replace(SHOP, name="returns", product="orders/returned")


@dg.asset
def orders() -> None: ...


def run(instance: dg.DagsterInstance, ledger: Ledger, *profiles: DeliveryProfile) -> None:
    """Run a project whose only attachment that is at work is the hook."""
    defs = with_ledger(dg.Definitions(assets=[orders]), ledger=ledger.root, profile=profiles)
    assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success


def test_a_project_declares_once_what_it_hands_over(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Before the first entry of the run in which it is at work."""
    run(instance, ledger, SHOP, RETURNS)
    run(instance, ledger, SHOP, RETURNS)
    assert declared_profiles(ledger).latest == (RETURNS, SHOP)
    changed = replace(SHOP, contract="shop_v2")
    run(instance, ledger, changed)
    ledger.seal()
    assert declared_profiles(ledger).latest == (RETURNS, changed)
    (declared,) = rows(ledger, "SELECT list(index ORDER BY index) FROM events WHERE event_type LIKE 'delivery.%'")
    (begun,) = rows(ledger, "SELECT min(first_index), max(first_index) FROM runs")
    assert len(declared[0]) == 3
    assert declared[0][1] < begun[0] < declared[0][2] < begun[1]


def test_what_is_no_profile_is_refused_when_the_project_loads() -> None:
    for wrong in ("shop.delivery:SHOP", [SHOP, SHOP], [None]):
        with pytest.raises(UsageError, match="delivery profiles in profile="):
            with_ledger(dg.Definitions(), profile=wrong)  # type: ignore[arg-type]


def test_sync_declares_it_for_a_project_without_anything_attached(
    home: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the option, or by the project's file; what the environment names is one reader's, and declares nothing."""
    (tmp_path / "shop_delivery.py").write_text(
        "from dataclasses import replace\nfrom run_evidence.evidence import DeliveryProfile\n"
        "SHOP = DeliveryProfile(name='shop', title='The shop', contract='shop_v1', product='orders',"
        " key_prefix='orders', proceed='ready')\nCHANGED = replace(SHOP, title='Changed')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEDGER_PROFILE", "shop_delivery:CHANGED")

    def sync(*more: str) -> tuple[DeliveryProfile, ...]:
        done = ledger_here("--ledger", str(ledger.root), "sync", "--dagster-home", str(home), *more)
        assert done.returncode == 0, done.stderr
        return declared_profiles(ledger).latest if ledger.exists() else ()

    assert sync() == ()
    assert sync("--profile", "shop_delivery:SHOP") == sync("--profile", "shop_delivery:SHOP") == (SHOP,)
    (tmp_path / ".ledger.toml").write_text('profile = "shop_delivery:CHANGED"\n')
    assert sync() == (replace(SHOP, title="Changed"),)
    assert rows(ledger, "SELECT count(*) FROM events WHERE event_type = 'delivery.declared.v1'") == [(2,)]
