"""Tickets (`ticket_v1`) as JSON Lines: parsed one line at a time and held to their contract.

Every line that is not blank becomes exactly one result: a ticket, an invalid ticket with its reasons, or a
line that cannot be read. Nothing is dropped.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import orjson

from pipelines.contract import Violation, load_contract
from pipelines.partitions import parse_instant
from pipelines.strict_json import BYTE_ORDER_MARK, REPEATED, NotAnObjectError, NotJsonError, read_object
from run_evidence.ledger import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

# A longer line is refused unread, so that a file without line ends cannot fill the memory.
MAX_LINE_BYTES: Final = 1 << 20
CONTRACT: Final = load_contract("ticket_contract.json")
REQUIRED_FIELDS: Final = CONTRACT.required
_INSTANTS: Final = tuple(name for name, rule in CONTRACT.fields.items() if rule.kind == "instant")


class Ticket(msgspec.Struct, frozen=True):
    """One event about a ticket that obeys the contract. A struct of msgspec's is made ten times as fast.

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
class InvalidTicket:
    """A JSON object that is no `ticket_v1`. Its id and time are kept where at least they are well-formed."""

    ticket_id: str | None
    created_at: datetime | None
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line that is not a JSON object, and why: `code` is stable, `text` is for a person."""

    code: Literal["not_json", "not_an_object", "line_too_long"]
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
                    content = UnreadableLine("line_too_long", f"the line is longer than {MAX_LINE_BYTES} bytes")
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
    return parse_sound(raw) or parse_any(raw)


def parse_sound(raw: bytes) -> Ticket | None:
    """Fast path. None means undecided: fall back to `parse_any`, which names the fault, if there is any.

    What its reader of JSON takes and the strict one does not: a NUL, written as an escape, and a name that is given
    more than once. Of that one value is lost, so that the line has more quotation marks than what was read.
    """
    if b"\\\\" in raw or b"\\u0000" in raw:
        return None
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if type(record) is not dict or not CONTRACT.surely_holds(record):
        return None
    payload = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    if _quotes(raw) != _quotes(payload):
        return None
    instants = {}
    for name in _INSTANTS:
        text = record.get(name)
        instants[name] = instant = parse_instant(text) if text is not None else None
        if text is not None and instant is None:
            return None
    return _to_ticket(record, instants, payload)


def _quotes(text: bytes) -> int:
    """Count the quotation marks that begin or end a text of JSON in which no backslash is escaped."""
    return text.count(b'"') - (text.count(b'\\"') if b"\\" in text else 0)


def parse_any(raw: bytes) -> Ticket | InvalidTicket | UnreadableLine:
    """Parse one line, whatever is wrong with it."""
    try:
        found = read_object(raw)
    except NotJsonError as error:
        return UnreadableLine("not_json", str(error))
    except NotAnObjectError as error:
        return UnreadableLine("not_an_object", str(error))
    record = found.values
    violations = [
        Violation(
            fault.field,
            "repeated" if fault.text == REPEATED else "malformed",
            fault.text if fault.path == fault.field else str(fault),
        )
        for fault in found.faults
        if fault.field in CONTRACT.fields or fault.text == REPEATED  # any other is in a field that is unknown
    ]
    faulty = {violation.field for violation in violations} & CONTRACT.fields.keys()
    violations += [breach for breach in CONTRACT.violations(record) if breach.field not in faulty]
    created_at = _instant(record.get("created_at"))
    if violations or created_at is None:
        ticket_id = record.get("ticket_id")
        known = isinstance(ticket_id, str) and CONTRACT.fields["ticket_id"].breach(ticket_id) is None
        return InvalidTicket(ticket_id if known else None, created_at, tuple(violations))
    instants = {name: _instant(record.get(name)) for name in _INSTANTS}
    return _to_ticket(record, instants, canonical_payload(record).encode())


def canonical_payload(record: dict[str, Any]) -> str:
    """Write a payload as JSON with sorted keys and no spaces, so that equal payloads have equal bytes."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _to_ticket(record: dict[str, Any], instants: dict[str, Any], payload: bytes) -> Ticket:
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
        **instants,
        payload=payload.decode(),
        fingerprint=hashlib.sha256(payload).hexdigest(),
    )


def _instant(value: object) -> datetime | None:
    return parse_instant(value) if isinstance(value, str) else None
