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
        write_run_documents,
    )

__all__ = ["WrittenDocuments", "WrittenSummary", "write_delivery_summary", "write_run_documents"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from run_evidence.evidence import files

        return getattr(files, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
