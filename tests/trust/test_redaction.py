"""Secrets are taken out before an event is hashed, and the event says so; everything else is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import Event, InputError, Ledger
from ledger.redact import MARK, MASK, PATTERNS, SECRET_NAME, Redaction, looked_at, read_redaction, suspicious
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


# --- looking first whether there is anything to look for ---------------------------------------------------

WORDS = [
    "password", "passwd", "passphrase", "pwd", "secret", "token", "api", "access", "private", "client", "key",
    "credential", "s", "authorization", "basic ", "bearer ", "ghp_", "github_pat_", "glpat-", "xoxb-", "AKIA",
    "ASIA", "AIza", "eyJ", "sk_live_", "rk_test_", "sk-", "-----BEGIN ", "PRIVATE KEY", "-----", "s3", "://",
    ":", "@", "/", "=", "-", "_", ".", " ", "\n", "\t", '"', "'", "\\", "é", "中", "\u017f", "\u212a", "\u0131",
    "\u0130", "\udc80", "\x00", "A" * 40, "a1" * 20, "x", "0",
]  # fmt: skip
MIXED = st.lists(
    st.sampled_from(WORDS) | st.sampled_from(WORDS).map(str.swapcase) | st.sampled_from(WORDS).map(str.title),
    max_size=12,
).map("".join)


def in_the_forms_looked_at(text: str) -> list[bytes]:
    """Return every text in which `suspicious` may be asked about this one."""
    event = Event(event_type="a.b.v1", occurred_at=0, data={"m": [{"label": "x", "value": text}], "n": "y"})
    odd = Event(event_type="a.b.v1", occurred_at=0, data={"m": text, "at": object()}, job_name="j")
    column = Event(event_type="a.b.v1", occurred_at=0, partition=text)
    return [text.encode("utf-8", "surrogatepass"), *map(looked_at, (event, odd, column))]


@given(MIXED | st.one_of(*(st.from_regex(pattern) for _, pattern, _ in PATTERNS)))
def test_looking_first_never_misses_what_a_pattern_finds(text: str) -> None:
    """Whatever a pattern finds in a text is suspected in all of its forms; what is not is passed by unread."""
    if any(pattern.search(text) for _, pattern, _ in PATTERNS):
        assert all(map(suspicious, in_the_forms_looked_at(text)))


NAMES = [
    "password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "api-key", "api_key", "accesskey",
    "access-key", "access_key", "secretkey", "secret-key", "privatekey", "private_key", "clientsecret",
    "client_secret", "credential", "credentials", "authorization",
]  # fmt: skip
KEYS = [f"gh{kind}_{'a1B2' * 9}" for kind in "pousr"] + [f"{kind}IA{'B2' * 8}" for kind in ("AK", "AS")]
KEYS += [f"AIza{'a1B2c3D' * 5}"]
KEYS += [f"{role}k_{stage}_{'a1B2' * 4}" for role in "sr" for stage in ("live", "test")]
LIKE_ASCII = str.maketrans({"s": "\u017f", "k": "\u212a", "i": "\u0131"})


@pytest.mark.parametrize("key", KEYS)
def test_every_kind_of_key_is_taken_out(key: str) -> None:
    """Each prefix a provider has, also in the column of an event, and after a line's end."""
    assert applied(m=f"x\n{key}")["m"] == f"x\n{MASK}"
    event = record(1, partition=key)
    assert Redaction().apply(event).partition == MASK


@pytest.mark.parametrize("name", NAMES)
def test_every_secret_name_counts_in_any_letters(name: str) -> None:
    """In capitals, and in letters that look and match like ASCII ones without being such."""
    for form in (name, name.upper(), name.title(), name.translate(LIKE_ASCII), name.replace("i", "\u0130")):
        assert applied(**{form: "hunter2"})[form] == MASK
        assert applied(m=[{"label": form, "value": "hunter2"}])["m"] == [{"label": form, "value": MASK}]
        if any(pattern.search(f"{form}=hunter2") for _, pattern, _ in PATTERNS):
            assert "hunter2" not in applied(m=f"with {form}=hunter2 in it")["m"]


@given(MIXED | st.from_regex(SECRET_NAME))
def test_looking_first_never_misses_a_secret_name(name: str) -> None:
    """As a key and as a label."""
    if SECRET_NAME.search(name):
        for data in ({name: "v"}, {"m": [{"label": name, "type": "text", "value": "v"}]}):
            event = Event(event_type="a.b.v1", occurred_at=0, data=data)
            assert suspicious(looked_at(event))
            assert "v" not in Redaction().apply(event).data.values()


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
