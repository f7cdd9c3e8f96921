"""Why a hand-over is refused."""

from __future__ import annotations

from typing import Any

from run_evidence.ledger import IntegrityError

_LONGEST = 200


class Refused(IntegrityError):
    """A hand-over does not hold. `code` says why, for a program; the rest says where, as far as there is a place.

    `file` is the name in the folder, `member` the path in it (`$.checks[0].status`).
    """

    def __init__(
        self,
        code: str,
        problem: str,
        file: str | None = None,
        member: str | None = None,
        expected: Any = None,
        got: Any = None,
    ) -> None:
        compared = (
            f"expected {_spelled(expected)}, got {_spelled(got)}" if (expected, got) != (None, None) else None
        )
        where = " ".join(filter(None, [file, member]))
        super().__init__(
            ": ".join(filter(None, [f"Refused ({code})", where, problem, compared])),
            next_step="build nothing on it; ask whoever handed it over for a new one, and say which code this is",
        )
        self.code = code
        self.problem = problem
        self.file = file
        self.member = member
        self.expected = expected
        self.got = got


def _spelled(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = "a value that is nested deeply"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
