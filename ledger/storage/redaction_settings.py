"""A ledger's `redaction.json`: its own patterns, and which assets' payloads are personal."""

from __future__ import annotations

from typing import Any

import orjson

from run_evidence.ledger.errors import InputError, IntegrityError
from run_evidence.ledger.redaction.redact import Redaction
from run_evidence.ledger.storage.files import MAX_SETTINGS_BYTES, readable_fault
from run_evidence.ledger.storage.layout import REDACTION
from run_evidence.ledger.storage.name_key import NameKey
from run_evidence.ledger.storage.store import Store


def read_redaction(store: Store) -> Redaction:
    """Read a ledger's `redaction.json`; without one the built-in forms hold.

    {"patterns": {"customer_number": "KD-[0-9]{8}"}, "personal": ["crm/*"]}

    Raises: InputError or EnvironmentFault naming what is wrong; nothing is recorded until it is right, rather
    than recorded whole.
    """
    digest = NameKey(store).digest
    try:
        content = store.read(REDACTION, follow=True, max_bytes=MAX_SETTINGS_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return Redaction(name_digest=digest)
    except OSError as error:
        raise readable_fault(error, "What to redact cannot be read, so nothing is recorded") from None
    except IntegrityError as error:
        raise InputError(f"{error} Until it is right nothing is recorded.", next_step=error.next_step) from None
    try:
        body = orjson.loads(content)
        patterns, personal = body.get("patterns", {}), body.get("personal", [])
        if body.keys() - {"patterns", "personal"}:
            raise ValueError(f"unknown members {sorted(body.keys() - {'patterns', 'personal'})}")  # noqa: TRY301
        if patterns:
            from run_evidence.ledger.redaction.own_patterns import compiled
        declared = tuple((str(name), compiled(str(name), _text(text))) for name, text in sorted(patterns.items()))
        return Redaction(declared, tuple(map(_text, personal)), digest)
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{store.path(REDACTION)}: {error}; until it is right nothing is recorded.",
            next_step='it reads {"patterns": {"NAME": "REGEX"}, "personal": ["ASSET_KEY_GLOB"]}; REGEX is RE2\'s',
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value
