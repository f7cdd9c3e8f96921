"""A project's own settings: which ledger it has, found from any folder inside the project.

`.ledger.toml`, or the table `[tool.ledger]` of a `pyproject.toml`, in the current folder or the nearest above it:

    ledger = "data/ledger"                      # relative to the file
    policy = "policy.toml"
    profile = "shop.delivery:ORDERS"

What a command line or the environment says goes before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.storage.files import is_file, is_own, read_named

NAME: Final = ".ledger.toml"
_MEMBERS: Final = ("ledger", "policy", "profile")


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """What a project's file says; `None` for what it does not. `file` is `None` where there is none."""

    file: Path | None = None
    ledger: str | None = None
    policy: Path | None = None
    profile: str | None = None


def find_project(folder: Path) -> ProjectSettings:
    """Return the settings of the project that a folder is in.

    Raises: UsageError naming the file that is not TOML, or has a member that is none; for a profile, which is code
    that will be run, also where the file is another user's.
    """
    for place in (folder, *folder.parents):
        if is_file(place / NAME):
            return _settings(place / NAME, _toml(place / NAME))
        if is_file(place / "pyproject.toml"):
            table = _toml(place / "pyproject.toml").get("tool", {}).get("ledger")
            if table is not None:
                return _settings(place / "pyproject.toml", table)
    return ProjectSettings()


def _toml(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_named(file).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}.", next_step="correct it, or name --ledger PATH") from None


def _settings(file: Path, table: object) -> ProjectSettings:
    said: dict[str, Any] = table if isinstance(table, dict) else {"": table}
    for name, value in said.items():
        if name not in _MEMBERS:
            raise UsageError(f"{file} has {name!r}, which is no setting.", next_step=f"of {', '.join(_MEMBERS)}")
        if not isinstance(value, str) or not value:
            raise UsageError(f"{file}: {name} is no text.", next_step=f'{name} = "…"')
    ledger, policy, profile = map(said.get, _MEMBERS)
    if profile and not is_own(file):
        raise UsageError(
            f"{file} names a profile, which is code, and is another user's file.",
            next_step="name the profile with --profile or LEDGER_PROFILE if you would run it",
        )
    if ledger and "://" not in ledger:
        ledger = str(file.parent / Path(ledger).expanduser())
    return ProjectSettings(file, ledger, file.parent / policy if policy else None, profile)
