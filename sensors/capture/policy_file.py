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
from typing import Annotated, Final

import msgspec

from run_evidence.ledger import InputError, UsageError, parse_settings, read_named
from run_evidence.sensors.capture.policy import OptionalDependency, Policy

_NEXT: Final = 'write [[optional]] with asset_key = "…", reason_code = "…" and reason = "…"; see docs/capture.md'

_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]


class _Optional(msgspec.Struct, forbid_unknown_fields=True):
    asset_key: _Text
    reason_code: _Text
    reason: _Text


class _File(msgspec.Struct, forbid_unknown_fields=True):
    optional: list[_Optional] = []


def read_policy(path: Path) -> Policy:
    """Read a policy file. Raises `InputError` naming file and entry, `EnvironmentFault` when it cannot be read."""
    try:
        text = read_named(path, next_step="name a file that is there").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(path, f"is not UTF-8 text: byte {error.start}") from None
    try:
        body = parse_settings(text, _File, as_json=path.suffix == ".json")
        optional = [OptionalDependency(**msgspec.structs.asdict(each)) for each in body.optional]
    except (UsageError, ValueError) as error:
        raise _wrong(path, str(error)) from None
    return checked(path, optional)


def checked(where: object, optional: Iterable[OptionalDependency]) -> Policy:
    """Return the policy of these dependencies. Raises `UsageError` where one asset is named twice."""
    found: dict[str, OptionalDependency] = {}
    for each in optional:
        if each.asset_key in found:
            raise UsageError(f"{where} names {each.asset_key} twice.", next_step="keep one of the two")
        found[each.asset_key] = each
    return Policy(tuple(found.values()))


def _wrong(path: Path, what: str) -> InputError:
    return InputError(f"The policy {path} {what}.".replace("..", "."), next_step=_NEXT)
