"""The policy file: what a deployment declares about its runs, read alike by `with_ledger` and `ledger sync`.

TOML, or JSON where the file's name ends in `.json`; one table for each asset that a run may do without:

    [[optional]]
    asset_key = "external/lakehouse_state"
    reason_code = "lakehouse_not_available"
    reason = "the state of the lakehouse was not observed"
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from run_evidence.ledger import InputError, UsageError, parse_settings, read_named
from run_evidence.sensors.capture.policy import OptionalDependency, Policy

_MEMBERS: Final = ("asset_key", "reason_code", "reason")
_NEXT: Final = 'write [[optional]] with asset_key = "…", reason_code = "…" and reason = "…"; see docs/capture.md'


def read_policy(path: Path) -> Policy:
    """Read a policy file. Raises `InputError` naming file and entry, `EnvironmentFault` when it cannot be read."""
    try:
        text = read_named(path, next_step="name a file that is there").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(path, f"is not UTF-8 text: byte {error.start}") from None
    body = _parsed(path, text)
    if not isinstance(body, dict) or body.keys() - {"optional"}:
        others = ", ".join(sorted(body.keys() - {"optional"})) if isinstance(body, dict) else type(body).__name__
        raise _wrong(path, f"has `optional` and nothing else; found {others}")
    entries = body.get("optional", [])
    if not isinstance(entries, list):
        raise _wrong(path, "has a list under `optional`: one table for each asset")
    return checked(path, [_entry(path, number, entry) for number, entry in enumerate(entries, start=1)])


def checked(where: object, optional: Iterable[OptionalDependency]) -> Policy:
    """Return the policy of these dependencies. Raises `UsageError` where one asset is named twice."""
    found: dict[str, OptionalDependency] = {}
    for each in optional:
        if each.asset_key in found:
            raise UsageError(f"{where} names {each.asset_key} twice.", next_step="keep one of the two")
        found[each.asset_key] = each
    return Policy(tuple(found.values()))


def _parsed(path: Path, text: str) -> Any:
    try:
        return parse_settings(text, as_json=path.suffix == ".json")
    except ValueError as error:
        raise _wrong(path, str(error)) from None


def _entry(path: Path, number: int, entry: Any) -> OptionalDependency:
    where = f"optional entry {number}"
    if not isinstance(entry, dict):
        raise _wrong(path, f"has a table for each asset; {where} is {type(entry).__name__}")
    if missing := [name for name in _MEMBERS if not isinstance(entry.get(name), str) or not entry[name].strip()]:
        raise _wrong(path, f"lacks text for {', '.join(missing)} in {where}")
    if unknown := sorted(entry.keys() - set(_MEMBERS)):
        raise _wrong(path, f"has members that are not known in {where}: {', '.join(unknown)}")
    try:
        return OptionalDependency(**entry)
    except UsageError as error:
        raise _wrong(path, f"has in {where}: {error}") from None


def _wrong(path: Path, what: str) -> InputError:
    return InputError(f"The policy {path} {what}.".replace("..", "."), next_step=_NEXT)
