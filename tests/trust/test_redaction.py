"""Secrets are taken out before an event is hashed, and the event says so; everything else is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import Event, InputError, Ledger
from ledger.redact import MARK, MASK, Redaction, read_redaction
from ledger.verify import verify
from tests.ledger.samples import Clock, events, record

# Put together here, so that no scanner takes this file for a leak.
SECRETS = {
    "url_password": ["postgresql://app:hunter2@db.internal/app", "https://me:p%40ss@host:8080/x"],
    "bearer_token": ["Authorization: Bearer " + "abcDEF123456" * 3],
    "authorization": ["authorization: Basic " + "dXNlcjpwYXNz"],
    "jwt": ["eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"],
    "github_token": ["ghp_" + "a1B2" * 9, "github_pat_" + "11ABCDEFG0" * 3],
    "gitlab_token": ["glpat-" + "xYz12" * 4],
    "slack_token": ["xoxb-" + "123456789012-abcdef"],
    "aws_key_id": ["AKIA" + "IOSFODNN7EXAMPLE"],
    "google_key": ["AIza" + "SyA1234567890abcdefghijklmnopqrstuv"],
    "stripe_key": ["sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"],
    "sk_key": ["sk-" + "proj_abcdefghijklmnopqrstuvwx"],
    "assignment": ["password=hunter2", "DB_PASSWORD: s3cret!", "api_key='abcdef'", '{"client_secret": "abc123"}'],
    "private_key": ["-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"],
}
HARMLESS = [
    'Finished execution of step "week06__silver__ticket_fact" in 12ms.',
    "s3://bucket/prefix/2026-04-17/part-0.parquet",
    "https://example.com/a?b=c#d",
    "mail ana@example.com about https://example.com",
    "0c7e1f6a-3b7d-4f8e-9a51-2f6d8c4b1e90",
    "token_count",
    "the secretary passed the basic test",
    "task-1, disk-usage, sk-ip",
    "a" * 5000,
]


def applied(**data: Any) -> dict[str, Any]:
    return Redaction().apply(Event(event_type="a.b.v1", occurred_at=0, data=data)).data


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SECRETS.items() for text in texts])
def test_secrets_of_common_forms_are_taken_out_wherever_they_stand(kind: str, text: str) -> None:
    """In a message, deep in metadata, in an error's chain; the text around them stays."""
    secret = text.rpartition("@")[0].rpartition(":")[2] or text[-9:-1]
    for data in ({"message": f"before {text} after"}, {"m": [{"label": "x", "value": f"before {text} after"}]}):
        cleaned = applied(**data)
        assert secret not in str(cleaned), cleaned
        assert str(cleaned).count("before ") == 1
        assert kind in cleaned[MARK]
        assert MASK in str(cleaned)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    event = Event(event_type="a.b.v1", occurred_at=0, data={"message": text, "token_count": 7, "passed": True})
    assert Redaction().apply(event) is event


@pytest.mark.parametrize(
    "name", ["password", "db_password", "API_KEY", "client-secret", "aws.secret_access_key", "token"]
)
def test_a_value_whose_name_says_it_is_secret_goes_as_a_whole(name: str) -> None:
    cleaned = applied(config={name: "short"}, metadata=[{"label": name, "type": "text", "value": "x y"}])
    assert cleaned["config"] == {name: MASK}
    assert cleaned["metadata"] == [{"label": name, "type": "text", "value": MASK}]
    assert cleaned[MARK] == ["named_secret"]


def test_an_address_keeps_all_but_the_password() -> None:
    cleaned = applied(url="postgresql://app:hunter2@db.internal:5432/app?sslmode=on")
    assert cleaned["url"] == f"postgresql://app:{MASK}@db.internal:5432/app?sslmode=on"


def test_the_text_columns_are_cleaned_too_and_the_identity_is_not() -> None:
    event = record(3, partition="ftp://u:hunter2@h/2026-04-17")
    cleaned = Redaction().apply(event)
    assert cleaned.partition == f"ftp://u:{MASK}@h/2026-04-17"
    assert (cleaned.run_id, cleaned.storage_id, cleaned.source_digest) == (event.run_id, 3, event.source_digest)


@given(events())
def test_redacting_twice_is_redacting_once(event: Event) -> None:
    once = Redaction().apply(event)
    again = Redaction().apply(once)
    assert again.data == once.data or MARK in once.data


@given(
    st.recursive(
        st.text() | st.none() | st.integers() | st.floats(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_payload_passes(value: Any) -> None:
    event = Event(event_type="a.b.v1", occurred_at=0, data={"v": value, "at": object()})
    assert set(Redaction().apply(event).data) <= {"v", "at", MARK}


# --- in a ledger ------------------------------------------------------------------------------------------


def stored(ledger: Ledger) -> bytes:
    return b"".join(p.read_bytes() for p in ledger.root.rglob("*") if p.is_file())


def test_no_byte_of_a_secret_reaches_the_disk(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append([record(1, data={"message": "redis://:hunter2@cache/0", "password": "hunter2"})])
    assert b"hunter2" not in stored(ledger)
    ledger.seal()
    assert verify(ledger).ok
    assert b"hunter2" not in stored(ledger)


def test_a_ledger_declares_its_own_patterns_and_what_is_personal(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.create()
    ledger.layout.redaction.write_text('{"patterns": {"customer": "KD-[0-9]{6}"}, "personal": ["crm/*"]}')
    ledger.append([record(1, data={"m": "for KD-123456"}), record(2, asset_key="crm/people", data={"n": "Ada"})])
    assert b"KD-123456" not in stored(ledger)
    (blob,) = ledger.layout.blobs.iterdir()
    assert blob.read_bytes() == b'{"n":"Ada"}'
    ledger.seal()
    assert verify(ledger).ok


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '{"pattern": {}}', '{"patterns": []}', '{"patterns": {"a": "("}}', '{"patterns": {"a": "x*"}}',
        '{"patterns": {"a": 5}}', '{"personal": [5]}', '{"personal": "crm"}x',
    ],
)  # fmt: skip
def test_nothing_is_recorded_under_rules_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    """Rather nothing than something that should have been taken out."""
    ledger = Ledger(tmp_path / "ledger")
    ledger.create()
    ledger.layout.redaction.write_text(content)
    with pytest.raises(InputError, match="nothing is recorded"):
        ledger.append([record(1)])
    assert list(ledger.layout.inbox.iterdir()) == []


def test_without_rules_the_built_in_ones_hold(tmp_path: Path) -> None:
    assert read_redaction(tmp_path / "redaction.json") == Redaction()
