"""The gate as an asset check: what is downstream of an asset does not run where its delivery is not fit.

The check is of the asset that was delivered, by an earlier run, and belongs into the job of those who build on it:
a run cannot be its own evidence, since it is not closed while it goes on.

No annotations are postponed here: Dagster reads the one on a check's context when it builds the check.
"""

from pathlib import Path
from typing import Any, Final

import dagster as dg

from run_evidence.evidence.gate import ask_gate
from run_evidence.evidence.gate_policy import GatePolicy
from run_evidence.evidence.gate_policy_file import read_gate_policy
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.profile import DeliveryProfile
from run_evidence.evidence.profile_history import declared_profiles, profiles_of
from run_evidence.ledger import UsageError, open_ledger
from run_evidence.sensors.dagster_log.names import asset_key_text

_PARTITION_TAG: Final = "dagster/partition"


def gate_check(
    asset: Any,
    *,
    name: str = "gate",
    partition: str | None = None,
    policy: str | Path | None = None,
    profile: DeliveryProfile | None = None,
    ledger: str | Path | None = None,
) -> dg.AssetChecksDefinition:
    """Make a blocking check of an asset (a key, a spec or a definition) that asks the gate about its delivery.

    It asks about `partition`, else the run's own, else the asset without partitions, and judges by `profile`,
    else by the one that the ledger has of the asset. `policy` is a file as for `ledger gate`, read anew each
    time; `ledger` an address as for `with_ledger`. The ledger is sealed first. Where the gate is not met the
    check fails with severity ERROR, and what depends on the asset in the same run does not run; nor does it where
    the gate cannot be asked.

    Raises: UsageError for an address or a profile that cannot be one.
    """
    key = key_of(asset)
    address, product = open_ledger(ledger), asset_key_text(key.path)
    if profile is not None and profile.product != product:
        raise UsageError(
            f"The profile {profile.name} delivers {profile.product}, and not {product}.",
            next_step="give the check the asset that is the profile's product",
        )

    @dg.asset_check(asset=key, name=name, blocking=True, description="Whether the ledger's gate is met.")
    def ask(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        asked = partition or context.run.tags.get(_PARTITION_TAG)
        problems = address.seal().problems
        for word, problem in problems:
            context.log.warning(f"{word}: {problem}")
        rules = read_gate_policy(Path(policy)) if policy else GatePolicy()
        profiles = profiles_of(profile) if profile else declared_profiles(address).of_product(product)
        answer = ask_gate(address, Asked(product=product, partition=asked), rules, profiles)
        return dg.AssetCheckResult(
            passed=answer.met,
            severity=dg.AssetCheckSeverity.ERROR,
            description=answer.sentence,
            metadata={rule.name: f"{rule.mark}: {rule.got}" for rule in answer.rules},
        )

    return ask


def key_of(asset: Any) -> dg.AssetKey:
    """Return the key of an asset however it is named; a text as Dagster shows keys, its parts joined by slashes."""
    if isinstance(asset, dg.AssetsDefinition | dg.AssetSpec):
        return asset.key
    return dg.AssetKey.from_user_string(asset) if isinstance(asset, str) else dg.AssetKey.from_coercible(asset)
