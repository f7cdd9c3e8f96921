"""The one Dagster entry point: `dagster dev -m pipelines.definitions`."""

import os

import dagster as dg

from pipelines.consumers.assets import DEFAULT_HANDOVER_DIR, HandoverResource, consumer_assets, consumer_job
from pipelines.data_factory.assets import GROUP, SEED_MANIFESTS, factory_assets, seed_manifests
from pipelines.data_factory.checks import FACTORY_CHECKS
from pipelines.data_factory.reporting import (
    OPTIONAL,
    LedgerResource,
    final_evidence_sensor,
    report_assets,
    report_check,
)
from pipelines.delivery import WEEK06
from pipelines.ingestion.assets import INGESTION_ASSETS, ingest_job
from pipelines.resources import default_partition, partition_start, resources_from_environment
from run_evidence.sensors import with_ledger

DATA_FACTORY_JOB = "week06_data_factory"
OBSERVE_JOB = "week06_observe_sources"

_PARTITION_TAG = "dagster/partition"  # the run tag by which Dagster itself knows a run's partition


def base_definitions(*, tick_seconds: int = 30) -> dg.Definitions:
    """Build the factory from the environment as it is now; final evidence is looked for every `tick_seconds`.

    Raises: UsageError, naming the variable, for an environment that cannot be used.
    """
    partition = default_partition(os.environ)
    daily = dg.DailyPartitionsDefinition(start_date=partition_start(os.environ), timezone="UTC")
    assets = [
        *factory_assets(daily),
        *report_assets(daily),
        *consumer_assets(daily),
    ]
    of_the_ledger = report_check()
    factory = dg.define_asset_job(
        DATA_FACTORY_JOB,
        # the group's executable assets and their checks; the observed source has a job of its own, and the verdict
        # of a run is not the run's to check
        selection=dg.AssetSelection.groups(GROUP) - dg.AssetSelection.checks(of_the_ledger.check_key),
        # on the run itself, so that what is planned, made and handed over is of this partition too
        tags={_PARTITION_TAG: partition} if partition else None,
    )
    return dg.Definitions(
        assets=[*INGESTION_ASSETS, seed_manifests, *assets],
        asset_checks=[*FACTORY_CHECKS, of_the_ledger],
        jobs=[
            factory,
            ingest_job(),
            consumer_job(),
            dg.define_asset_job(OBSERVE_JOB, selection=dg.AssetSelection.assets(SEED_MANIFESTS)),
        ],
        resources={
            **resources_from_environment(os.environ),
            "week06_ledger": LedgerResource(),
            "week07_handover": HandoverResource(
                folder=os.environ.get("WEEK07_HANDOVER_DIR") or DEFAULT_HANDOVER_DIR,
                verifier_key=os.environ.get("WEEK07_VERIFIER_KEY") or None,
                memory=os.environ.get("WEEK07_ACCEPTED_DIR") or None,
            ),
        },
        # off until somebody switches it on
        schedules=[dg.build_schedule_from_partitioned_job(factory, name=f"{DATA_FACTORY_JOB}_daily")],
        sensors=[final_evidence_sensor(DATA_FACTORY_JOB, tick_seconds)],
    )


def factory_definitions() -> dg.Definitions:
    """Build the factory from the environment as it is now, with its ledger."""
    return with_ledger(base_definitions(), optional=OPTIONAL, profile=WEEK06)


defs = factory_definitions()
