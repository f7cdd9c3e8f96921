"""The settings edge: the one place that turns the environment into an address.

The command line and `sensors.with_ledger` resolve a ledger the same way, so that what is captured is what
is queried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ledger.errors import UsageError

CAPTURE_LOG = "ledger-capture.log"
"""Under $DAGSTER_HOME: what went wrong in capture. Empty or absent when nothing did."""


def capture_log(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return where capture writes its own errors, `None` when DAGSTER_HOME is not set."""
    home = (os.environ if environment is None else environment).get("DAGSTER_HOME")
    return Path(home).expanduser() / CAPTURE_LOG if home else None


def resolve_ledger(path: str | Path | None, environment: Mapping[str, str] | None = None) -> Path:
    """Return where the ledger is: `path`, else LEDGER_URL, else $DAGSTER_HOME/ledger, else ./.ledger.

    Raises `UsageError` for an address of a kind that is not supported.
    """
    values = os.environ if environment is None else environment
    home = values.get("DAGSTER_HOME")
    fallback = Path(home).expanduser() / "ledger" if home else Path(".ledger")
    address = str(path) if path else values.get("LEDGER_URL") or str(fallback)
    if "://" in address:
        scheme, _, rest = address.partition("://")
        if scheme != "file":
            raise UsageError(
                f"The address {address!r} is of a kind this version cannot open; a ledger is a folder.",
                next_step="name a folder with --ledger or LEDGER_URL",
            )
        address = rest
    return Path(address).expanduser().absolute()
