"""Tickets (`ticket_v1`) as JSON Lines: parsed one line at a time and held to their contract.

Every line that is not blank becomes exactly one result: a ticket, an invalid ticket with its reasons, or a
line that cannot be read. Nothing is dropped.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pipelines.ingestion.partitions import parse_instant
from pipelines.ingestion.strict_json import BYTE_ORDER_MARK, REPEATED, NotAnObjectError, printable, read_object
from run_evidence.ledger import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

# A longer line is refused unread, so that a file without line ends cannot fill the memory.
MAX_LINE_BYTES: Final = 1 << 20
_TICKET_ID: Final = r"TKT-[0-9]{8}-[0-9]{6}"


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one field may hold."""

    kind: Literal["text", "texts", "instant", "flag"] = "text"
    required: bool = False
    nullable: bool = False
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    max_length: int | None = None


def _required(*choices: str, pattern: str | None = None) -> _Rule:
    return _Rule(required=True, choices=choices, pattern=pattern)


CONTRACT: Final[dict[str, _Rule]] = {
    "ticket_id": _required(pattern=_TICKET_ID),
    "schema_version": _required("ticket_v1"),
    "source_id": _required(),
    "ingest_batch_id": _required(),
    "customer_id": _required(),
    "org_id": _Rule(),
    "status": _required("open", "pending", "in_progress", "resolved", "closed", "escalated"),
    "priority": _required("p1_critical", "p2_high", "p3_medium", "p4_low"),
    "category": _Rule(
        choices=(
            *("installation", "configuration", "connectivity", "authentication", "billing"),
            *("feature_request", "bug_report", "documentation", "performance", "security", "other"),
        )
    ),
    "product_line": _required("northstar_workspace", "northstar_edge_gateway", "northstar_studio", "cross_product"),
    "product_version": _Rule(),
    "subject": _Rule(max_length=512),
    "description": _Rule(),
    "error_codes": _Rule("texts"),
    "asset_ids": _Rule("texts"),
    "assignee_id": _Rule(nullable=True),
    "sla_tier": _Rule(choices=("enterprise", "professional", "standard", "free")),
    "sla_due_at": _Rule("instant", nullable=True),
    "created_at": _Rule("instant", required=True),
    "updated_at": _Rule("instant", nullable=True),
    "resolved_at": _Rule("instant", nullable=True),
    "pii_level": _required("none", "low", "high"),
    "pii_redacted": _Rule("flag"),
    "quality_gate": _required("pass", "warn", "fail", "pending"),
    "owner": _required(),
    "tags": _Rule("texts"),
}
REQUIRED_FIELDS: Final = tuple(name for name, rule in CONTRACT.items() if rule.required)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One event about a ticket that obeys the contract.

    `payload` is its canonical JSON and `fingerprint` the SHA-256 of it in hex: the same fields with the same
    values give the same fingerprint, in whatever order and spacing they were written. Times are aware UTC.
    """

    ticket_id: str
    source_id: str
    ingest_batch_id: str
    customer_id: str
    org_id: str | None
    status: str
    priority: str
    category: str | None
    product_line: str
    product_version: str | None
    assignee_id: str | None
    sla_tier: str | None
    pii_level: str
    quality_gate: str
    owner: str
    created_at: datetime
    updated_at: datetime | None
    resolved_at: datetime | None
    sla_due_at: datetime | None
    payload: str
    fingerprint: str

    @property
    def version_at(self) -> datetime:
        """The instant this version of the ticket dates from."""
        return self.updated_at or self.created_at


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach of the contract. `code` is stable; `text` is for a person."""

    field: str
    code: Literal["missing", "null", "unknown_field", "wrong_type", "not_allowed", "malformed", "too_long"]
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


@dataclass(frozen=True, slots=True)
class InvalidTicket:
    """A JSON object that is no `ticket_v1`. Its id and time are kept where at least they are well-formed."""

    ticket_id: str | None
    created_at: datetime | None
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line that is not a JSON object, and why."""

    text: str


@dataclass(frozen=True, slots=True)
class TicketLine:
    """What one line of a file turned out to be. `number` counts from 1, as editors do."""

    number: int
    content: Ticket | InvalidTicket | UnreadableLine


def read_tickets(path: Path) -> Iterator[TicketLine]:
    """Parse a tickets file line by line, in file order; blank lines are passed over.

    Holds one line in memory, never the file.

    Raises: InputError when the file cannot be opened or read.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    raw = raw.removeprefix(BYTE_ORDER_MARK)
                if len(raw) > MAX_LINE_BYTES:
                    while not raw.endswith(b"\n") and (raw := file.readline(MAX_LINE_BYTES)):
                        pass
                    content = UnreadableLine(f"the line is longer than {MAX_LINE_BYTES} bytes")
                    yield TicketLine(number, content)
                elif raw and not raw.isspace():
                    yield TicketLine(number, parse_ticket(raw))
    except OSError as error:
        raise InputError(
            f"{path}: the tickets file cannot be read: {error.strerror}",
            next_step="check that the delivery is complete and the path in the manifest is right",
        ) from error


def parse_ticket(raw: bytes) -> Ticket | InvalidTicket | UnreadableLine:
    """Parse one line: a ticket, an invalid one with every reason, or a line that is no JSON object."""
    try:
        found = read_object(raw)
    except NotAnObjectError as error:
        return UnreadableLine(str(error))
    record = found.values
    violations = [
        Violation(fault.field, "malformed", fault.text if fault.path == fault.field else str(fault))
        for fault in found.faults
        if fault.field in CONTRACT or fault.text == REPEATED  # any other is in a field that is unknown
    ]
    faulty = {violation.field for violation in violations} & CONTRACT.keys()
    violations += [breach for breach in _violations(record) if breach.field not in faulty]
    created_at = _instant(record.get("created_at"))
    if violations or created_at is None:
        ticket_id = record.get("ticket_id")
        known = isinstance(ticket_id, str) and re.fullmatch(_TICKET_ID, ticket_id, re.ASCII)
        return InvalidTicket(ticket_id if known else None, created_at, tuple(violations))
    return _to_ticket(record, created_at)


def canonical_payload(record: dict[str, Any]) -> str:
    """Write a payload as JSON with sorted keys and no spaces, so that equal payloads have equal bytes."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _to_ticket(record: dict[str, Any], created_at: datetime) -> Ticket:
    payload = canonical_payload(record)
    return Ticket(
        ticket_id=record["ticket_id"],
        source_id=record["source_id"],
        ingest_batch_id=record["ingest_batch_id"],
        customer_id=record["customer_id"],
        org_id=record.get("org_id"),
        status=record["status"],
        priority=record["priority"],
        category=record.get("category"),
        product_line=record["product_line"],
        product_version=record.get("product_version"),
        assignee_id=record.get("assignee_id"),
        sla_tier=record.get("sla_tier"),
        pii_level=record["pii_level"],
        quality_gate=record["quality_gate"],
        owner=record["owner"],
        created_at=created_at,
        updated_at=_instant(record.get("updated_at")),
        resolved_at=_instant(record.get("resolved_at")),
        sla_due_at=_instant(record.get("sla_due_at")),
        payload=payload,
        fingerprint=hashlib.sha256(payload.encode("utf-8")).hexdigest(),
    )


def _instant(value: object) -> datetime | None:
    return parse_instant(value) if isinstance(value, str) else None


def _violations(record: dict[str, Any]) -> Iterator[Violation]:
    """Find every breach, in the contract's order, then the unknown fields by name."""
    for name, rule in CONTRACT.items():
        if name not in record:
            if rule.required:
                yield Violation(name, "missing", "required, but not there")
        elif record[name] is None:
            if not rule.nullable:
                yield Violation(name, "null", "must not be null")
        else:
            breach = _breach(rule, record[name])
            if breach:
                yield Violation(name, *breach)
    for name in sorted(record.keys() - CONTRACT.keys()):
        yield Violation(printable(name), "unknown_field", "not a field of ticket_v1")


_Breach = tuple[Literal["wrong_type", "not_allowed", "malformed", "too_long"], str]


def _breach(rule: _Rule, value: object) -> _Breach | None:
    """Hold one value, not null, against its rule."""
    if rule.kind == "flag":
        return None if isinstance(value, bool) else ("wrong_type", "expected true or false")
    if rule.kind == "texts":
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            return "wrong_type", "expected a list of texts"
        return None
    if not isinstance(value, str):
        return "wrong_type", f"expected a text, got a {type(value).__name__}"
    if rule.kind == "instant":
        expected = "expected an RFC 3339 time with an offset"
        return None if parse_instant(value) else ("malformed", f"{expected}, got {value[:40]!r}")
    return _rule_breach(rule, value)


def _rule_breach(rule: _Rule, value: str) -> _Breach | None:
    if rule.required and not value.strip():
        return "malformed", "must not be empty"
    if rule.choices and value not in rule.choices:
        return "not_allowed", f"expected one of {', '.join(rule.choices)}, got {value[:40]!r}"
    if rule.pattern and not re.fullmatch(rule.pattern, value, re.ASCII):
        return "malformed", f"expected {rule.pattern}, got {value[:40]!r}"
    if rule.max_length and len(value) > rule.max_length:
        return "too_long", f"at most {rule.max_length} characters, got {len(value)}"
    return None
