r"""Secrets by their name: `password=…`, `{"dbPassword": "…"}`, `--token …`, `Pwd={…}`, in texts and in data.

A name says that its value is secret when it ends in a word such as `password`, `token` or `api_key`, in any
spelling (`DB_PASSWORD`, `dbPassword`, `api-key`). What ends otherwise does not: `token_count`, `primary_key`.

All positions are in bytes of UTF-8. Cost: in proportion to the text, because what was read as a value is not read
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import re2

from run_evidence.ledger.redaction.forms import STRONG_WORDS, WEAK_WORDS, is_basic, is_mixed

_STAGE: Final = (
    r"value|b64|base64|prod(?:uction)?|dev|staging|stage|uat|qa|live|primary|secondary|backup|admin|root|[0-9]{1,3}"
)
_TAIL: Final = (
    rf"(?:[ _.-]?(?:{_STAGE}|string|plain(?:text)?|raw|old|new|current|confirm(?:ation)?|again|repeat|hash))?"
)
_WORD: Final = rf"(?:(?:({STRONG_WORDS}){_TAIL})|(?:({WEAK_WORDS})(?:[_.-]?(?:{_STAGE}))?))"
"""A name's end: the word, and a stage or a kind after it. Two groups: for strong words and for weak ones."""

_NAME: Final = re2.compile(rf"(?i){_WORD}[\])\"'`]*\s*$".encode())
_HARMLESS: Final = re2.compile(
    rb"(?i)(?:^|[^A-Za-z0-9])(?:next|page|continuation|paginat(?:ion|or)|sync|cancell?ation|pad|eos|bos|unk|sep|mask|cls"
    rb"|stop|start|end|special|max|min|per|num|total|first|last|prompt|completion|input|output|cached|unexpected)"
    rb"[ _.-]?(?:page[ _.-]?)?tokens?$"
)
_QUOTE: Final = r"(?:\\{0,15}[\"'`]|%22|%27|&quot;|&#34;|&#39;)"
_ASSIGNED: Final = re2.compile(
    (
        rf"(?i){_WORD}({_QUOTE})?\]?(,?\s{{0,16}}{_QUOTE}?(?:value|val|default){_QUOTE}?\s{{0,8}}[:=]"
        rf"|[ \t]{{0,16}}(?:=>|:=|={{1,3}}|[:=：＝]|%3[AaDd]|\\{{1,8}}u003[AaDd])"
        rf"|\\{{0,15}}[\"'`]?,?[ \t]{{1,16}}|,)"
    ).encode()
)
_QUOTED: Final = re2.compile(
    rf"(?:[ \t]|%20)*(?:[|>][+-]?[ \t]*(?:\r?\n|\\{{1,8}}n))?\s*[bBuUrR]{{0,2}}({_QUOTE})".encode()
)
_BLANK: Final = re2.compile(rb"(?:[ \t]|%20)*(?:[|>][+-]?[ \t]*(?:\r?\n|\\{1,8}n)[ \t]*)?")
_REFERENCE: Final = re2.compile(rb"\$\{[\w.:-]{1,80}\}|\$\([\w.:-]{1,80}\)|\{\{[^{}]{0,100}\}\}|\{[\w.]{0,40}\}")
_CALL: Final = re2.compile(rb"[A-Za-z_][A-Za-z0-9_.]{0,64}\(")
_BRACKETS: Final = re2.compile(rb"[\[\](){}]|\\*[\"']")
_QUOTE_MARK: Final = re2.compile(rb"\\*[\"'`]")
_STOP: Final = re2.compile(
    rb"[\s\"'`<>]|\\+[\"'`]|(?:[,;&|]|\\{1,8}[nrt])(?:\s|$|[\w.$-]{1,64}(?:=|:)|\\{0,15}[\"'`]|[^\w]|\w{1,64}$)"
    rb"|[)\]}](?:\s|$|[,;:.)\]}\"'`\\])|%2[267cC]|%0[aAdD]|&quot;|&#3[49];"
)
_PLACEHOLDER: Final = re2.compile(
    rb"(?i)^(?:null|none|nil|undefined|true|false|n/a|\*{3,}|\.{3,}|-+|\$\{[\w.:-]{1,80}\}|\$\([\w.:-]{1,80}\)|\{\{.{0,100}\}\}|\{[\w.]{0,40}\}|%s|%\([\w]{1,40}\)s|\?|:[a-z_]{1,40})$"
)
_MASKS: Final = re2.compile(rb"^(?:\[redacted(?::[0-9a-f]{16})?\])+$")
_PATH: Final = re2.compile(rb"^(?:~|\.{1,2})?/[\w./ -]*$")
_FLAG: Final = re2.compile(rb"(?:^|[\s\"'`\[(,=])(?:--[A-Za-z0-9_-]{0,64}|-)$")
_PROSE_BEFORE: Final = re2.compile(rb"[A-Za-z][A-Za-z'-]* +$")
_PROSE: Final = re2.compile(rb"^(?:[a-z]+|[A-Z][a-z]*|[^\w]{1,8}|[A-Z][A-Za-z]+(?:Error|Exception))[.,;:!?]*$")
_FLAG_PROSE: Final = frozenset(
    b"is to for and or was must not has in with option flag argument cannot requires if when on as".split()
)


def is_secret_name(name: str) -> bool:
    """Tell whether a name says that its value is a secret, whatever the value looks like."""
    text = name.encode("utf-8", "replace")
    if text.startswith((b"fs.azure.account.key.", b"fs.azure.sas.")):
        return True
    return _NAME.search(text[-200:]) is not None and _HARMLESS.search(text[-200:]) is None


def is_login(name: str, value: Any) -> bool:
    """Tell a password under a name that can mean other things: `auth` of a registry or a request, `pass`."""
    if name.lower() == "auth" and isinstance(value, list | tuple):
        return len(value) == 2 and all(isinstance(each, str) for each in value)
    if not isinstance(value, str):
        return False
    text = value.encode("utf-8", "replace")
    return (name.lower() == "auth" and is_basic(text)) or (name.lower() == "pass" and is_mixed(text))


def is_secret_value(name: str, value: Any) -> bool:
    """Tell whether a value under a secret's name is to go: none, true, false and counts stay."""
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return False
    if isinstance(value, int | float):
        plural = name.rstrip("\"'`]) ").lower().endswith("s")
        return not plural and (abs(value) >= 100_000 or "token" not in name.lower())
    if isinstance(value, str):
        text = value.encode("utf-8", "replace")
        return not (_PLACEHOLDER.match(text) or _MASKS.match(text) or _stays(name.lower().encode(), text))
    return name.lower().rstrip("\"'`]) ")[-6:] != "tokens"


def assigned_secrets(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the values lie that names in this text call secret, in order, none within another."""
    done = 0
    for found in _ASSIGNED.finditer(data):
        start, after = found.span()
        if start < done:
            continue
        value = _value(data, found, after)
        if value is None:
            continue
        first, last = value
        done = last
        if first < last and _counts(data, found, first, last):
            yield first, last


def _value(data: bytes, found: Any, after: int) -> tuple[int, int] | None:
    """Return where the value lies that follows a name, `None` when it is no name of a value."""
    start = found.start()
    separator = found[4].strip()
    if separator in (b"", b",") or separator[-1:] in b"\"'`,":
        left = data[max(0, start - 80) : start]
        flagged = _FLAG.search(left) is not None
        opened = _QUOTED.match(data, after)
        if not flagged and not (found[1] and separator == b"" and not found[3] and opened):
            return None
    else:
        opened = _QUOTED.match(data, after)
    if opened:
        return opened.end(), _quoted_end(data, opened.end(), opened[1])
    first = _BLANK.match(data, after).end()
    if reference := _REFERENCE.match(data, first):
        return first, reference.end()
    if data[first : first + 1] in (b"{", b"[", b"("):
        return first, _bracket_end(data, first)
    if call := _CALL.match(data, first):
        return first, _bracket_end(data, call.end() - 1)
    if b"phrase" in found.group().lower():  # several words
        end = data.find(b"\n", first)
        return first, len(data) if end < 0 else end
    stop = _STOP.search(data, first)
    return first, stop.start() if stop else len(data)


def _counts(data: bytes, found: Any, first: int, last: int) -> bool:
    """Tell a secret from what stands in its place: nothing, a reference, a mask, a count, a word of prose."""
    value = data[first:last]
    short = value[:200]
    if _PLACEHOLDER.match(short) or _MASKS.match(value[:2000]):
        return False
    start = found.start()
    left = data[max(0, start - 80) : start]
    name = left + found.group()[: found.start(4) - start].rstrip(b"\\\"'`]")
    if _HARMLESS.search(name):
        return False
    if _FLAG.search(left) and not found[4].strip() and short.lower() in _FLAG_PROSE | {b"-"}:
        return False
    if short.isdigit() and len(short) < 6 and b"token" in name.lower()[-12:]:
        return False
    if _stays(name.lower(), short):
        return False
    quoted = data[first - 1 : first] in (b'"', b"'", b"`")
    colon = found[4].strip() == b":" and not found[3] and data[first - 1 : first] in (b" ", b"\t")
    if colon and not quoted and _PROSE_BEFORE.search(left) and _PROSE.match(short):
        return False
    return not (found[2] and colon and not quoted and short[:1] in b"({[<.")


def _stays(name: bytes, value: bytes) -> bool:
    """Tell a path from a secret, where the name can mean either; and the word for a kind of credentials."""
    if name.endswith((b"pwd", b"credentials", b"credential", b"key")) and _PATH.match(value):
        return True
    return name.endswith((b"credential", b"credentials")) and value.endswith((b".json", b"Chain", b"Provider"))


def _quoted_end(data: bytes, first: int, opening: bytes) -> int:
    """Return where quoted text ends: at the quote that is escaped as often as the one that opened it."""
    if not opening.endswith((b'"', b"'", b"`")):
        end = data.find(opening, first)
        return len(data) if end < 0 else end
    level = len(opening)  # one more than its backslashes, 2^n where quoted text is quoted n times
    for mark in _QUOTE_MARK.finditer(data, first):
        if mark.group()[-1:] == opening[-1:] and (len(mark.group()) - 1) % (2 * level) < level:
            return int(mark.start())
    return len(data)


def _bracket_end(data: bytes, first: int) -> int:
    """Return where what opens at `first` is closed; brackets inside quoted text do not count."""
    depth, until = 0, first
    for mark in _BRACKETS.finditer(data, first):
        if mark.start() < until:
            continue
        token = mark.group()
        if token[-1:] in (b'"', b"'"):
            until = _quoted_end(data, mark.end(), token)
            until += len(token) if until < len(data) else 0
        elif token in (b"(", b"[", b"{"):
            depth += 1
        else:
            depth -= 1
        if depth == 0:
            return int(mark.end())
    return len(data)
