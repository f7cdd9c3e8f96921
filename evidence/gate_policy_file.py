"""The file that a gate's policy is written in.

A small file, TOML, or JSON where its name ends in `.json`; what it leaves out has the default of `GatePolicy`. A
C2SP tlog-policy is a policy too: the defaults, and whom one trusts. A name that is not known is refused: a rule
that was spelled wrong would else be one that nobody asks.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from run_evidence.evidence.gate_policy import NEXT, GatePolicy
from run_evidence.evidence.profile import PROCEED
from run_evidence.ledger import (
    InputError,
    UsageError,
    is_trust_policy,
    parse_settings,
    parse_trust_policy,
    read_named,
)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The members of a policy's file, which are those of `GatePolicy`; `trust` is the text of a tlog-policy."""

    require: str = PROCEED
    off: tuple[str, ...] = ()
    rows_read: str | None = None
    rows_written: str | None = None
    trust: str | None = None
    sign_off: bool = False
    actors: tuple[str, ...] = ()
    override: tuple[str, ...] = ()


def read_gate_policy(path: Path) -> GatePolicy:
    """Read a policy file.

    Raises: InputError naming the file and what is wrong in it; EnvironmentFault when it cannot be read.
    """
    try:
        text = read_named(path, next_step="name a file that is there").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(path, f"it is not UTF-8 text: byte {error.start}") from None
    try:
        if path.suffix != ".json" and is_trust_policy(text):
            return GatePolicy(trust=parse_trust_policy(text))
        declared = parse_settings(text, _File, as_json=path.suffix == ".json")
        trust = None if declared.trust is None else parse_trust_policy(declared.trust)
        return GatePolicy(**{**msgspec.structs.asdict(declared), "trust": trust})
    except (UsageError, ValueError) as error:
        raise _wrong(path, str(error)) from None


def _wrong(path: Path, what: str) -> InputError:
    return InputError(f"The policy {path} cannot be used: {what.rstrip('.')}.", next_step=NEXT)
