"""Files in which a user declares something: TOML, or JSON, read strictly. Pure."""

from __future__ import annotations

import json
import tomllib
from typing import Any


def parse_settings(text: str, *, as_json: bool) -> Any:
    """Return what a text declares.

    Raises: ValueError saying why, for a text that declares nothing or names a member twice.
    """
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
