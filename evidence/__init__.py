"""Evidence: what the ledger holds, folded into verdicts and written down for those who build on it.

Everything is derived from a prefix of the ledger and from nothing else; the imports are made when used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from run_evidence.evidence.acceptance import Accepted, accept
    from run_evidence.evidence.exports.run import RunExport
    from run_evidence.evidence.files import (
        WrittenDocuments,
        WrittenSummary,
        write_delivery_summary,
        write_documents,
        write_run_documents,
    )
    from run_evidence.evidence.handover import HandedOver, hand_over
    from run_evidence.evidence.profile import DeliveryProfile, Field
    from run_evidence.evidence.profile_choice import find_profile, find_profiles, reports_folder
    from run_evidence.evidence.profile_history import ProfileHistory, Profiles, declared_profiles
    from run_evidence.evidence.refusal import Refused

__all__ = [
    "Accepted",
    "DeliveryProfile",
    "Field",
    "HandedOver",
    "ProfileHistory",
    "Profiles",
    "Refused",
    "RunExport",
    "WrittenDocuments",
    "WrittenSummary",
    "accept",
    "declared_profiles",
    "find_profile",
    "find_profiles",
    "hand_over",
    "reports_folder",
    "write_delivery_summary",
    "write_documents",
    "write_run_documents",
]


_PLACES: Final = {
    "acceptance": ("Accepted", "accept"),
    "exports.run": ("RunExport",),
    "files": (
        "WrittenDocuments",
        "WrittenSummary",
        "write_delivery_summary",
        "write_documents",
        "write_run_documents",
    ),
    "handover": ("HandedOver", "hand_over"),
    "profile": ("DeliveryProfile", "Field"),
    "profile_choice": ("find_profile", "find_profiles", "reports_folder"),
    "profile_history": ("ProfileHistory", "Profiles", "declared_profiles"),
    "refusal": ("Refused",),
}
_MODULE_OF: Final = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
