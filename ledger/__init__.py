"""The run-evidence ledger: append-only, provable evidence of what every run did and did not do.

This is all that other packages import: `Ledger` and `Event`, the errors, the model of runs (plan, outcomes),
snapshots for SQL, `open` for a notebook, checkpoints, and how a file is written durably. Everything else is the
ledger's own and may change. Commands of other packages have `run_evidence.ledger.cli.session` and
`run_evidence.ledger.terminal` besides.

A name is loaded when it is first used: a step's process, which appends, pays for nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from run_evidence.ledger.admin.signed_state import own_signers
    from run_evidence.ledger.errors import (
        EnvironmentFault,
        InputError,
        IntegrityError,
        LedgerError,
        NotALedgerError,
        UsageError,
    )
    from run_evidence.ledger.ledger import Ledger, OwnEvent, RunKnown
    from run_evidence.ledger.model.canonical import Json, bounded, canonical
    from run_evidence.ledger.model.conflict import conflict_event
    from run_evidence.ledger.model.document import RECORDED, recorded_documents
    from run_evidence.ledger.model.event import MAX_TIME, OUTCOMES, Event, blob_name, encode
    from run_evidence.ledger.model.extent import PARTITIONS_DECLARED, Extent, extent_data, extent_digest, of_keys
    from run_evidence.ledger.model.json_bytes import parse_json
    from run_evidence.ledger.model.names import MAX_NAME, digested, is_writable
    from run_evidence.ledger.model.outcomes import (
        NO_ASSET,
        RUN_ENDED,
        SAYS_STATUS,
        Outcome,
        RunEvent,
        derive_outcomes,
        outcome_parts,
    )
    from run_evidence.ledger.model.plan import Kind, Plan, PlanItem, ancestors, plan_parts, read_plan
    from run_evidence.ledger.model.settings_text import parse_settings
    from run_evidence.ledger.model.stated import identifier, is_identifier
    from run_evidence.ledger.model.times import parse_moment, rfc3339
    from run_evidence.ledger.project_file import ProjectSettings
    from run_evidence.ledger.proving.check import check_proof, proven_events
    from run_evidence.ledger.proving.included import require_included
    from run_evidence.ledger.proving.page_file import check_file, drawn_digests, with_proof
    from run_evidence.ledger.proving.prove import open_prover
    from run_evidence.ledger.query.as_of import NOW, AsOf, parse_as_of
    from run_evidence.ledger.query.kept import state_of
    from run_evidence.ledger.query.prefix import calculated_checkpoint, sealed_size
    from run_evidence.ledger.query.run_ids import one_run, runs_starting_with
    from run_evidence.ledger.query.snapshot import Snapshot, open_snapshot
    from run_evidence.ledger.reader import Reader, Rows, open  # noqa: A004
    from run_evidence.ledger.redaction.find import MASKED
    from run_evidence.ledger.redaction.redact import MASK, Redaction
    from run_evidence.ledger.sealing.seal import Sealed
    from run_evidence.ledger.settings import CAPTURE_LOG, accepted_folder, open_ledger, project_settings
    from run_evidence.ledger.storage.checkpoints import checkpoint_sizes, read_checkpoint, read_checkpoint_file
    from run_evidence.ledger.storage.files import (
        TMP_PREFIX,
        create_idempotent,
        locked,
        make_folder,
        make_private_folder,
        read_key_texts,
        read_named,
        read_regular,
        replace_atomic,
    )
    from run_evidence.ledger.storage.keyring import read_records
    from run_evidence.ledger.storage.output import require_outside, write_outside
    from run_evidence.ledger.storage.search import look_up, sql_text
    from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint
    from run_evidence.ledger.tlog.dsse import IN_TOTO, format_envelope, open_envelope
    from run_evidence.ledger.tlog.keys import Signer, format_vkey
    from run_evidence.ledger.tlog.policy import (
        PolicySigners,
        TrustPolicy,
        is_trust_policy,
        parse_trust_policy,
        vouched,
    )
    from run_evidence.ledger.tlog.proof_file import ProofFile, format_proof, parse_proof
    from run_evidence.ledger.tlog.trust import Trust, read_trust, require_trusted
    from run_evidence.ledger.verification.verify import verify

_PLACES: Final = {
    "admin.signed_state": ("own_signers",),
    "errors": (
        "EnvironmentFault",
        "InputError",
        "IntegrityError",
        "LedgerError",
        "NotALedgerError",
        "UsageError",
    ),
    "ledger": (
        "Ledger",
        "OwnEvent",
        "RunKnown",
    ),
    "query.kept": ("state_of",),
    "model.canonical": (
        "Json",
        "bounded",
        "canonical",
    ),
    "model.conflict": ("conflict_event",),
    "model.document": (
        "RECORDED",
        "recorded_documents",
    ),
    "model.event": (
        "Event",
        "MAX_TIME",
        "OUTCOMES",
        "blob_name",
        "encode",
    ),
    "model.extent": (
        "Extent",
        "PARTITIONS_DECLARED",
        "extent_data",
        "extent_digest",
        "of_keys",
    ),
    "model.json_bytes": ("parse_json",),
    "model.names": (
        "MAX_NAME",
        "digested",
        "is_writable",
    ),
    "model.outcomes": (
        "NO_ASSET",
        "Outcome",
        "RUN_ENDED",
        "RunEvent",
        "SAYS_STATUS",
        "derive_outcomes",
        "outcome_parts",
    ),
    "model.plan": (
        "Kind",
        "Plan",
        "PlanItem",
        "ancestors",
        "plan_parts",
        "read_plan",
    ),
    "model.settings_text": ("parse_settings",),
    "model.stated": (
        "identifier",
        "is_identifier",
    ),
    "model.times": (
        "parse_moment",
        "rfc3339",
    ),
    "project_file": ("ProjectSettings",),
    "proving.check": (
        "check_proof",
        "proven_events",
    ),
    "proving.included": ("require_included",),
    "proving.page_file": (
        "check_file",
        "drawn_digests",
        "with_proof",
    ),
    "proving.prove": ("open_prover",),
    "query.as_of": (
        "AsOf",
        "NOW",
        "parse_as_of",
    ),
    "query.prefix": (
        "calculated_checkpoint",
        "sealed_size",
    ),
    "query.run_ids": (
        "one_run",
        "runs_starting_with",
    ),
    "query.snapshot": (
        "Snapshot",
        "open_snapshot",
    ),
    "reader": (
        "Reader",
        "Rows",
        "open",
    ),
    "redaction.find": ("MASKED",),
    "redaction.redact": (
        "MASK",
        "Redaction",
    ),
    "sealing.seal": ("Sealed",),
    "settings": (
        "CAPTURE_LOG",
        "accepted_folder",
        "open_ledger",
        "project_settings",
    ),
    "storage.checkpoints": (
        "checkpoint_sizes",
        "read_checkpoint",
        "read_checkpoint_file",
    ),
    "storage.files": (
        "TMP_PREFIX",
        "create_idempotent",
        "locked",
        "make_folder",
        "make_private_folder",
        "read_key_texts",
        "read_named",
        "read_regular",
        "replace_atomic",
    ),
    "storage.keyring": ("read_records",),
    "storage.output": ("require_outside", "write_outside"),
    "storage.search": (
        "look_up",
        "sql_text",
    ),
    "tlog.checkpoint": (
        "Checkpoint",
        "StoredCheckpoint",
    ),
    "tlog.dsse": (
        "IN_TOTO",
        "format_envelope",
        "open_envelope",
    ),
    "tlog.keys": (
        "Signer",
        "format_vkey",
    ),
    "tlog.policy": (
        "TrustPolicy",
        "PolicySigners",
        "is_trust_policy",
        "parse_trust_policy",
        "vouched",
    ),
    "tlog.proof_file": (
        "ProofFile",
        "format_proof",
        "parse_proof",
    ),
    "tlog.trust": (
        "Trust",
        "read_trust",
        "require_trusted",
    ),
    "verification.verify": ("verify",),
}
_MODULE_OF: Final = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "CAPTURE_LOG",
    "IN_TOTO",
    "MASK",
    "MASKED",
    "MAX_NAME",
    "MAX_TIME",
    "NOW",
    "NO_ASSET",
    "OUTCOMES",
    "PARTITIONS_DECLARED",
    "RECORDED",
    "RUN_ENDED",
    "SAYS_STATUS",
    "TMP_PREFIX",
    "AsOf",
    "Checkpoint",
    "EnvironmentFault",
    "Event",
    "Extent",
    "InputError",
    "IntegrityError",
    "Json",
    "Kind",
    "Ledger",
    "LedgerError",
    "NotALedgerError",
    "Outcome",
    "OwnEvent",
    "Plan",
    "PlanItem",
    "PolicySigners",
    "ProjectSettings",
    "ProofFile",
    "Reader",
    "Redaction",
    "Rows",
    "RunEvent",
    "RunKnown",
    "Sealed",
    "Signer",
    "Snapshot",
    "StoredCheckpoint",
    "Trust",
    "TrustPolicy",
    "UsageError",
    "accepted_folder",
    "ancestors",
    "blob_name",
    "bounded",
    "calculated_checkpoint",
    "canonical",
    "check_file",
    "check_proof",
    "checkpoint_sizes",
    "conflict_event",
    "create_idempotent",
    "derive_outcomes",
    "digested",
    "drawn_digests",
    "encode",
    "extent_data",
    "extent_digest",
    "format_envelope",
    "format_proof",
    "format_vkey",
    "identifier",
    "is_identifier",
    "is_trust_policy",
    "is_writable",
    "locked",
    "look_up",
    "make_folder",
    "make_private_folder",
    "of_keys",
    "one_run",
    "open",
    "open_envelope",
    "open_ledger",
    "open_prover",
    "open_snapshot",
    "outcome_parts",
    "own_signers",
    "parse_as_of",
    "parse_json",
    "parse_moment",
    "parse_proof",
    "parse_settings",
    "parse_trust_policy",
    "plan_parts",
    "project_settings",
    "proven_events",
    "read_checkpoint",
    "read_checkpoint_file",
    "read_key_texts",
    "read_named",
    "read_plan",
    "read_records",
    "read_regular",
    "read_trust",
    "recorded_documents",
    "replace_atomic",
    "require_included",
    "require_outside",
    "require_trusted",
    "rfc3339",
    "runs_starting_with",
    "sealed_size",
    "sql_text",
    "state_of",
    "verify",
    "vouched",
    "with_proof",
    "write_outside",
]


def __getattr__(name: str) -> Any:
    """Load the module that a name is from."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
