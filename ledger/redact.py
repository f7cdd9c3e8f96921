"""Redaction: secrets are taken out of an event before it is hashed, and the event says that they were.

Once sealed an entry cannot be changed, so a password that got in would be there for ever. What is looked for:
passwords in addresses, bearer tokens, assignments such as `password=…`, keys in the forms that large providers
give them, private keys, and whatever the ledger's own `redaction.json` declares. A secret in another form is
not found: redaction is a net, not a promise (docs/trust.md).

Only the standard library and orjson are imported: every append comes through here.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import orjson

from ledger.errors import InputError
from ledger.event import Event
from ledger.store import readable_fault

MASK: Final = "[redacted]"
MARK: Final = "redacted"
"""The member of `data` that names the kinds of secrets that were taken out."""

SECRET_NAME: Final = re.compile(
    r"(?:^|[^a-z0-9])(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key"
    r"|private[_-]?key|client[_-]?secret|credentials?|authorization)$",
    re.IGNORECASE,
)
_BUILT_IN: Final[Mapping[str, tuple[str, str]]] = {
    "private_key": (
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
        MASK,
    ),
    "url_password": (r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\"'<>]*:)[^\s/@\"'<>]+(?=@)", rf"\g<1>{MASK}"),
    "bearer_token": (r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{16,}", rf"\g<1>{MASK}"),
    "authorization": (r"(?i)(\bauthorization\s*[:=]\s*(?:basic|digest|token)\s+)\S+", rf"\g<1>{MASK}"),
    "jwt": (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", MASK),
    "github_token": (r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})", MASK),
    "gitlab_token": (r"\bglpat-[A-Za-z0-9_-]{20,}", MASK),
    "slack_token": (r"\bxox[abeprs]-[A-Za-z0-9-]{10,}", MASK),
    "aws_key_id": (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", MASK),
    "google_key": (r"\bAIza[A-Za-z0-9_-]{35}", MASK),
    "stripe_key": (r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}", MASK),
    "sk_key": (r"\bsk-[A-Za-z0-9_-]{20,}", MASK),
    "assignment": (
        (
            r"(?i)(\b[a-z0-9_.-]{0,64}(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|private)[_-]?key)"
            r"[\"']?\s*(?:=|:)\s*[\"']?)(?!\[redacted\])[^\s\"',;&}]{3,}"
        ),
        rf"\g<1>{MASK}",
    ),
}
_SIGNS: Final = re.compile(
    rb"c(?:ret|redent)|w(?:(?<=ssw)or|(?<=[ps]w)d)|vate|p(?<=ssp)hrase|bearer|xox|j(?<=eyj)|g(?:h[pousr]_|ithub_p|lpat-)"
    rb"|k(?:(?<=tok)en|(?<=pik|ssk)ey|(?<=pi[-_]k|ss[-_]k)ey|_live_|_test_|(?<=sk)-|(?<=ak)ia)"
    rb"|z(?:(?<=thoriz)ation|(?<=aiz)a)|\xc4[\xb0\xb1]|\xc5\xbf|\xe2\x84\xaa"
)
"""What a text in lower case has in it if any pattern can match, but for addresses and `ASIA…`.

It is looked for first, because that is several times as fast as the patterns and enough for nearly all events. One
pass, and each word from its rarest letter on: a pass costs what its candidates cost. The last three are the letters
outside ASCII (İ, ı, ſ and the Kelvin sign) that a pattern without regard to case takes for i, s and k.
"""

_ADDRESS: Final = re.compile(rb"://[^\"]*@")

_TEXT_COLUMNS: Final = (
    "job_name",
    "step_key",
    "asset_key",
    "partition",
    "check_name",
    "trace_id",
    "release_id",
    "batch_id",
    "reason_code",
)
_texts_of: Final = attrgetter(*_TEXT_COLUMNS)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is taken out, and which events' payloads lie beside the log because they are personal.

    `declared` are a ledger's own patterns by name; `personal` are glob patterns on the asset keys of records.
    """

    declared: tuple[tuple[str, re.Pattern[str]], ...] = ()
    personal: tuple[str, ...] = ()

    def apply(self, event: Event) -> Event:
        """Return the event without its secrets; the same object when it has none.

        Cost: about 8 ns a byte when nothing looks like a secret.
        """
        if not self.declared and not suspicious(looked_at(event)):
            return event
        found: set[str] = set()
        data = self._clean(event.data, found)
        changed: dict[str, Any] = {
            name: self._clean_text(str(value), found)
            for name in _TEXT_COLUMNS
            if (value := getattr(event, name)) is not None
        }
        if not found:
            return event
        return replace(event, data={**data, MARK: [*sorted(found)]}, **changed)

    def is_personal(self, event: Event) -> bool:
        """Tell whether a record's payload is to lie beside the log, where it can be erased."""
        key = event.asset_key if event.storage_id is not None else None
        return key is not None and any(fnmatch.fnmatchcase(key, pattern) for pattern in self.personal)

    def _clean(self, value: Any, found: set[str]) -> Any:
        if isinstance(value, str):
            return self._clean_text(value, found)
        if isinstance(value, Mapping):
            return self._clean_object(value, found)
        if isinstance(value, list | tuple):
            return [self._clean(item, found) for item in value]
        return value

    def _clean_object(self, value: Mapping[Any, Any], found: set[str]) -> dict[Any, Any]:
        """Clean every member; one whose name says that it is a secret goes as a whole, whatever it looks like."""
        cleaned: dict[Any, Any] = {}
        label = value.get("label")  # metadata is a list of {label, type, value}
        for name, item in value.items():
            says = label if name == "value" and isinstance(label, str) else name
            if isinstance(item, str) and item and isinstance(says, str) and SECRET_NAME.search(says):
                found.add("named_secret")
                cleaned[name] = MASK
            else:
                cleaned[name] = self._clean(item, found)
        return cleaned

    def _clean_text(self, text: str, found: set[str]) -> str:
        if suspicious(text.encode("utf-8", "surrogatepass")):
            for name, pattern, mask in PATTERNS:
                text, count = pattern.subn(mask, text)
                if count:
                    found.add(name)
        for name, declared in self.declared:
            text, count = declared.subn(MASK, text)
            if count:
                found.add(name)
        return text


PATTERNS: Final = tuple((name, re.compile(text, re.DOTALL), mask) for name, (text, mask) in _BUILT_IN.items())


def suspicious(text: bytes) -> bool:
    """Tell whether a pattern or a name may say that there is a secret in this text, or in this JSON.

    False is a promise: `PATTERNS` and `SECRET_NAME` find nothing in it. Cost: about 7 ns a byte.
    """
    if b"@" in text and _ADDRESS.search(text):
        return True
    return b"ASIA" in text or _SIGNS.search(text.lower()) is not None


def looked_at(event: Event) -> bytes:
    """Return all of an event that is looked at, as one text for `suspicious`."""
    texts = _texts_of(event)
    try:
        return orjson.dumps((event.data, texts))
    except (TypeError, ValueError):  # something that `bounded` will make text of: look at what that is
        return repr([event.data, texts]).encode("utf-8", "surrogatepass")


def read_redaction(path: Path) -> Redaction:
    """Read a ledger's `redaction.json`; without one the built-in patterns hold.

    {"patterns": {"customer_number": "KD-[0-9]{8}"}, "personal": ["crm/*"]}

    Raises: InputError or EnvironmentFault naming what is wrong; nothing is recorded until it is right, rather
    than recorded whole.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Redaction()
    except OSError as error:
        raise readable_fault(error, "What to redact cannot be read, so nothing is recorded") from None
    try:
        body = orjson.loads(content)
        patterns, personal = body.get("patterns", {}), body.get("personal", [])
        if body.keys() - {"patterns", "personal"}:
            raise ValueError(f"unknown members {sorted(body.keys() - {'patterns', 'personal'})}")  # noqa: TRY301
        declared = tuple((str(name), _compiled(text)) for name, text in sorted(patterns.items()))
        return Redaction(declared, tuple(map(_text, personal)))
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError, re.error) as error:
        raise InputError(
            f"{path}: {error}; until it is right nothing is recorded.",
            next_step='it reads {"patterns": {"NAME": "REGEX"}, "personal": ["ASSET_KEY_GLOB"]}',
        ) from None


def _compiled(text: Any) -> re.Pattern[str]:
    pattern = re.compile(_text(text))
    if pattern.search(""):
        raise ValueError(f"the pattern {text!r} matches nothing at all, so it would redact everything")
    return pattern


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value
