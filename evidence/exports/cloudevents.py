"""A run's entries as CloudEvents 1.0, one JSON object a line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import orjson

from run_evidence.evidence.exports.run import RunExport, needs_extra

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What an attribute of type String cannot hold. Source: CloudEvents 1.0.2, Type System."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def cloudevents(run: RunExport) -> bytes:
    """Write each entry of the run as a CloudEvent: its id, type and time, and the entry itself as data.

    `source` is the log's origin, `subject` what the event is about, `sequence` its index in the log as 20 digits,
    `partitionkey` the run. A payload kept beside the log stays a reference to it.
    """
    with needs_extra("cloudevents"):
        from cloudevents.core.formats.json import JSONFormat
        from cloudevents.core.v1.event import CloudEvent

    form, source = JSONFormat(), quote(run.origin, safe="/:@!$&'()*+,;=-._~")
    lines = []
    for index, entry in run.entries:
        body: dict[str, Any] = orjson.loads(entry)
        attributes = {
            "id": body["event_id"],
            "source": source,
            "type": body["event_type"],
            "time": _EPOCH + timedelta(microseconds=body["occurred_at"]),
            "datacontenttype": "application/json",
            "partitionkey": _text(run.facts.row.run_id),
            "sequence": f"{index:020}",
        }
        if subject := _subject(body):
            attributes["subject"] = subject
        lines.append(form.write(CloudEvent(attributes, body)) + b"\n")
    return b"".join(lines)


def _subject(body: dict[str, Any]) -> str | None:
    """Say what an event is about: its asset or step, then its partition in brackets, then its check."""
    about = body.get("asset_key") or body.get("step_key")
    if not about:
        return None
    partition = f"[{body['partition']}]" if "partition" in body else ""
    check = f"#{body['check_name']}" if "check_name" in body else ""
    return _text(f"{about}{partition}{check}")


def _text(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
