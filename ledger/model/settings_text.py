"""Files in which a user declares something: TOML, or JSON, read strictly. Pure."""

from __future__ import annotations

import json
import tomllib
from typing import Any, TypeVar

_Declared = TypeVar("_Declared")


def parse_settings(text: str, kind: type[_Declared], *, as_json: bool) -> _Declared:
    """Return what a text declares, as a `kind`, a class of msgspec's that says what can be declared.

    Raises: ValueError saying what is wrong and where, `$` being the whole, for a text that declares something else,
    or names a member twice.
    """
    import msgspec

    try:
        return msgspec.convert(_parsed(text, as_json=as_json), kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"says something else than can be declared: {error}") from None


def _parsed(text: str, *, as_json: bool) -> Any:
    try:
        if as_json:
            return json.loads(text, object_pairs_hook=_once)
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not {'JSON' if as_json else 'TOML'}: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a member stands twice in {{{', '.join(name for name, _ in pairs)}}}")
    return found
