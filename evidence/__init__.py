"""Evidence: what the ledger holds, folded into verdicts and written down for those who build on it.

Everything is derived from a prefix of the ledger and from nothing else; the imports are made when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from run_evidence.evidence.files import (
        WrittenDocuments,
        WrittenSummary,
        write_delivery_summary,
        write_documents,
        write_run_documents,
    )
    from run_evidence.evidence.profile import DeliveryProfile, Field
    from run_evidence.evidence.profile_choice import find_profile, reports_folder

__all__ = [
    "DeliveryProfile",
    "Field",
    "WrittenDocuments",
    "WrittenSummary",
    "find_profile",
    "reports_folder",
    "write_delivery_summary",
    "write_documents",
    "write_run_documents",
]


def __getattr__(name: str) -> Any:
    if name in {"DeliveryProfile", "Field"}:
        from run_evidence.evidence import profile

        return getattr(profile, name)
    if name in {"find_profile", "reports_folder"}:
        from run_evidence.evidence import profile_choice

        return getattr(profile_choice, name)
    if name in __all__:
        from run_evidence.evidence import files

        return getattr(files, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
