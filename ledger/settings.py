"""The settings edge: the one place that turns the environment into an address.

The command line and `sensors.with_ledger` resolve a ledger the same way, so that what is captured is what
is queried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import EnvironmentFault, UsageError
from run_evidence.ledger.project_file import ProjectSettings, find_project
from run_evidence.ledger.storage.files import make_private_folder

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.query.limits import Limits
    from run_evidence.ledger.storage.keyring import SigningSetup
    from run_evidence.ledger.tlog.keys import Verifier

CAPTURE_LOG = "ledger-capture.log"
"""Under $DAGSTER_HOME: what went wrong in capture. Empty or absent when nothing did."""


def project_settings() -> ProjectSettings:
    """Return what the project says that the current folder is in. Raises: what `find_project` raises."""
    try:
        folder = Path.cwd()
    except OSError:  # it was removed
        return ProjectSettings()
    return find_project(folder)


def resolve_ledger(path: str | Path | None, environment: Mapping[str, str] | None = None) -> Path:
    """Return where the ledger is: `path`, LEDGER_URL, what the project says, $DAGSTER_HOME/ledger, or ./.ledger.

    Raises `UsageError` for an address of a kind that is not supported, or a project file that is wrong.
    """
    values = os.environ if environment is None else environment
    home = values.get("DAGSTER_HOME")
    fallback = Path(home).expanduser() / "ledger" if home else Path(".ledger")
    address = str(path) if path else values.get("LEDGER_URL") or project_settings().ledger or str(fallback)
    if "://" in address:
        from urllib.parse import unquote, urlsplit

        url = urlsplit(address)
        local = url.netloc in {"", "localhost"} and url.path.startswith("/") and not (url.query or url.fragment)
        if url.scheme != "file" or not local:
            raise UsageError(
                f"The address {address!r} is of a kind this version cannot open; a ledger is a folder.",
                next_step="name a folder with --ledger or LEDGER_URL, or by a URL as file:///path/to/ledger",
            )
        return Path(unquote(url.path))  # Source: RFC 8089, and what `Path.as_uri` writes
    return Path(address).expanduser().absolute()


def open_ledger(path: str | Path | None = None, environment: Mapping[str, str] | None = None) -> Ledger:
    """Return the ledger at `resolve_ledger(path)`, sealed with the key and the witnesses the user has set."""
    from run_evidence.ledger.ledger import Ledger

    return Ledger(resolve_ledger(path, environment), signing_setup=signing_setup(environment=environment))


def signing_setup(
    key_file: Path | None = None,
    witnesses: Sequence[str] = (),
    witness_keys: Sequence[Verifier] = (),
    environment: Mapping[str, str] | None = None,
) -> SigningSetup:
    """Return who signs: `key_file`, else LEDGER_KEY, else what is in `key_folder`; and who is asked to cosign.

    `witnesses` are addresses, else those in LEDGER_WITNESSES, separated by spaces.
    """
    from run_evidence.ledger.storage.keyring import SigningSetup

    values = os.environ if environment is None else environment
    named = str(key_file) if key_file else values.get("LEDGER_KEY")
    return SigningSetup(
        Path(named).expanduser() if named else None,
        key_folder(environment),
        tuple(witnesses) or tuple(values.get("LEDGER_WITNESSES", "").split()),
        tuple(witness_keys),
        key_memory(environment),
    )


def query_limits(environment: Mapping[str, str] | None = None) -> Limits:
    """Return what a query may take: LEDGER_QUERY_MEMORY and LEDGER_QUERY_TIMEOUT, else their defaults."""
    from run_evidence.ledger.query.limits import read_limits

    return read_limits(None, None, os.environ if environment is None else environment)


def key_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return where `ledger key new` keeps private keys: XDG_CONFIG_HOME, else ~/.config, below our own name.

    `None` where this user has no home folder, so no key is kept there either.
    """
    folder = _base("XDG_CONFIG_HOME", ".config", environment)
    return folder / "run-evidence-ledger" if folder else None


def _base(variable: str, below_home: str, environment: Mapping[str, str] | None) -> Path | None:
    """Return the folder that a variable names, else the one below the user's home; `None` where there is no home.

    An empty HOME is none: what it names would lie below the root of the file system, or in the current folder.
    """
    values = os.environ if environment is None else environment
    if named := values.get(variable):
        return Path(named)
    if "HOME" in os.environ and not os.environ["HOME"]:
        return None
    try:
        return Path.home() / below_home
    except RuntimeError:  # a user that no password file knows
        return None


def key_memory(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return where keys remember what they signed, from LEDGER_KEY_MEMORY; `None`: each beside its own file."""
    from run_evidence.ledger.storage.keyring import MEMORY_SETTING

    named = (os.environ if environment is None else environment).get(MEMORY_SETTING)
    return Path(named).expanduser() if named else None


def verified_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return where `ledger verify` remembers what it found good: XDG_STATE_HOME, else ~/.local/state.

    Raises: EnvironmentFault where there is neither.
    """
    return _state_folder("verified", "ledger verify --no-memory", environment)


def accepted_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return where `ledger accept` remembers what it accepted, beside `verified_folder`. Raises as that does."""
    return _state_folder("accepted", "ledger accept --no-memory", environment)


def shell_history(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the file in which `ledger sql` keeps what was asked, in a private folder; `None` without a home."""
    base = _base("XDG_STATE_HOME", ".local/state", environment)
    if base is None:
        return None
    folder = base / "run-evidence-ledger" / "shell"
    try:
        make_private_folder(folder)
    except OSError:  # a home that cannot be written: nothing is kept
        return None
    return folder / "sql_history"


def _state_folder(name: str, without: str, environment: Mapping[str, str] | None) -> Path:
    folder = _base("XDG_STATE_HOME", ".local/state", environment)
    if folder is None:
        raise EnvironmentFault(
            f"There is no home folder to remember in what was {name}.",
            next_step=f"set XDG_STATE_HOME or HOME; or, without a memory: {without}",
        )
    return folder / "run-evidence-ledger" / name
