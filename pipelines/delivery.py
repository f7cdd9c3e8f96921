"""What Week06 hands over to Week07 and Week08: the contract `week06_run_evidence_v1`, as a delivery profile.

The contract's JSON Schema is `week06_run_evidence_v1.schema.json` beside this file.
"""

from __future__ import annotations

from typing import Final

from run_evidence.evidence.profile import DeliveryProfile, Field

LAKEHOUSE: Final = "week06/external/lakehouse_state"
MART: Final = "week06/external/support_kpi_mart"

WEEK06: Final = DeliveryProfile(
    name="week06",
    title="Week06 delivery summary",
    contract="week06_run_evidence_v1",
    product="week06/silver/ticket_fact_partitioned",
    key_prefix="week06/",
    proceed="proceed_to_week07",
    dry_run_code="dry_run_no_db_write",
    optional=(LAKEHOUSE, MART),
    fields=(
        # Not declared as rows read: Silver counts the tickets of Bronze's rows, and an updated ticket has several.
        Field("input_row_count", "count", told="row read"),
        Field("output_row_count", "count", ("product",), told="row written", rows="written"),
        Field("output_snapshot_id", "id", ("product",), told="snapshot"),
        Field("manifest_id", told="manifest"),
        Field("batch_id", sources=("assets", "batch_id"), told="batch"),
        Field("source_snapshot_id", "id"),
        Field("data_release_id", sources=("assets", "release_id")),
        Field("trace_id", sources=("trace_id",)),
        Field("git_sha", sources=("tag:git_sha", "assets")),
        Field("lakehouse_snapshot_id", "id", (f"asset:{LAKEHOUSE}",)),
        Field("dbt_invocation_id", sources=(f"asset:{MART}",)),
        Field("semantic_metric_count", "count", (f"asset:{MART}",)),
    ),
    folder="reports/week06",
    folder_variable="WEEK06_REPORT_DIR",
)
