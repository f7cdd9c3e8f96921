"""The result of one call of the command line, as the fixture `call` returns it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Said:
    """The result of one call."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return stdout as the one JSON document it is."""
        return json.loads(self.out)


Call = Callable[..., Said]
