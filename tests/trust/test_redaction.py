"""Secrets are taken out before an event is hashed, and the event says so; everything else is left as it was."""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from run_evidence.ledger import EnvironmentFault, Event, InputError, Ledger
from run_evidence.ledger.model.event import encode
from run_evidence.ledger.model.names import is_writable
from run_evidence.ledger.redaction.find import (
    MASKED,
    MAX_FOUND,
    find_secrets,
    found_unasked,
    plain_letters,
    suspicious,
)
from run_evidence.ledger.redaction.redact import MARK, MASK, NAME_COLUMNS, Redaction, looked_at
from run_evidence.ledger.storage.folder import FolderStore
from run_evidence.ledger.storage.name_key import NameKey
from run_evidence.ledger.storage.redaction_settings import read_redaction
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import Clock, events, record
from tests.paths import paths
from tests.trust.secret_samples import INNOCENT, PAGE, Sample, page, samples

KEYED = "[redacted:"
FOUND = [sample for sample in samples() if sample.found]


@pytest.fixture(scope="module", name="redaction")
def _redaction(tmp_path_factory: pytest.TempPathFactory) -> Redaction:
    return read_redaction(FolderStore(tmp_path_factory.mktemp("ledger")))


def applied(**data: Any) -> dict[str, Any]:
    return Redaction().apply(Event(event_type="a.b.v1", occurred_at=0, data=data)).data


# --- the forms ---------------------------------------------------------------------------------------------


def test_the_page_of_forms_is_what_the_code_finds() -> None:
    """What is promised to be found is found, and what is not is listed as not found."""
    stale = "docs/redaction.md is stale; rebuild it with: python -m tests.trust.secret_samples"
    assert PAGE.read_text(encoding="utf-8") == page(), stale


@pytest.mark.parametrize("sample", samples(), ids=lambda each: f"{each.heading}-{each.form}")
def test_only_what_has_no_mark_of_its_own_is_missed(sample: Sample) -> None:
    assert sample.found or sample.heading == "Forms without a mark of their own"


@pytest.mark.parametrize("sample", FOUND, ids=lambda each: f"{each.heading}-{each.form}")
def test_a_secret_is_taken_out_wherever_it_stands(sample: Sample) -> None:
    """In a message, deep in metadata, after a line's end, in JSON that is text; what stands before it stays."""
    for text in (
        f"before\n{sample.text}",
        json.dumps({"before": sample.text}, ensure_ascii=False),
        f"before 中文\n{sample.text}",
    ):
        for data in ({"message": text}, {"m": [{"label": "x", "value": text}]}, {"a": [{"b": [text]}]}):
            cleaned = str(applied(**data))
            assert not any(secret in cleaned for secret in sample.secrets), cleaned
            assert "before" in cleaned
            assert MASK in cleaned


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    event = Event(event_type="a.b.v1", occurred_at=0, data={"message": text, "token_count": 7, "passed": True})
    assert Redaction().apply(event) is event
    column = record(1, partition=text)
    assert Redaction().apply(column) is column


ORDINARY = [
    'Started execution of step "silver__ticket_fact".', "Materialized value warehouse orders table_0.",
    "Loaded input from MEMORY_MODE using input manager", "s3://warehouse/orders/2026-04-17/part-0.parquet",
    "DAGSTER_RUN_MONITORING", "ASSET_MATERIALIZATION_PLANNED", "row_count", "partition 2026-04-17 of 30",
    "NOTIFICATION",
    "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9", "0c7e1f6a-3b7d-4f8e-9a51-2f6d8c4b1e90",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_event_is_passed_by_after_one_look(text: str) -> None:
    """What Dagster writes every day costs one pass over it."""
    assert not suspicious(
        looked_at(record(1, step_key=text, data={"message": text, "metadata": [{"label": text}]}))
    )


SECRET_NAMES = [
    "password", "db_password", "dbPassword", "API_KEY", "client-secret", "aws.secret_access_key", "token",
    "PGPASSWORD", "apikey", "authToken", "secretAccessKey", "passwd", "pwd", "passphrase", "private_key",
    "AccountKey", "DB_PASSWORD_PROD", "password2", "credentials", "密码", "secret string",
]  # fmt: skip
VALUES: list[Any] = ["short", "x y", 1_234_567, 123456.5, ["a", 1], {"user": "me", "n": [1]}, b"bytes"]


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_whose_name_says_it_is_secret_goes_as_a_whole(name: str, value: Any) -> None:
    """Whatever it is: text, number, list, object. In a member, and in a pair of name and value."""
    if name == "credentials" and isinstance(value, float | int):
        return  # how many there are
    cleaned = applied(config={name: value}, metadata=[{"label": name, "type": "text", "value": value}])
    assert cleaned["config"] == {name: MASK}
    assert cleaned["metadata"] == [{"label": name, "type": "text", "value": MASK}]
    assert cleaned[MARK] == ["named_secret"]


@pytest.mark.parametrize(
    "data",
    [
        {"token_count": 5}, {"token": 5}, {"max_token": 512}, {"tokens": ["a", "b"]}, {"secrets": 3},
        {"password": None, "secret": True, "token": ""}, {"primary_key": "id"}, {"partition_key": "2026-04-17"},
        {"next_page_token": "abc"}, {"pad_token": "<pad>"}, {"password_length": 12}, {"auth": "oauth2"},
        {"credentials": "/etc/gcp/key.json"}, {"argv": ["tool", "--token-count", "5"]},
        {"pass": 12}, {"pass": "ok"}, {"auth": ["oauth2"]},
    ],
    ids=repr,
)  # fmt: skip
def test_a_name_that_only_has_such_a_word_says_nothing(data: dict[str, Any]) -> None:
    event = Event(event_type="a.b.v1", occurred_at=0, data=data)
    assert Redaction().apply(event) is event


def test_a_list_of_arguments_and_a_registrys_settings_are_known() -> None:
    assert applied(argv=["psql", "--password", "hunter2", "-v"])["argv"] == ["psql", "--password", MASK, "-v"]
    assert applied(auths={"r": {"auth": "dXNlcjpwYXNz"}})["auths"] == {"r": {"auth": MASK}}
    assert applied(request={"auth": ["me", "hunter2"], "pass": "hunter2"})["request"] == {
        "auth": MASK,
        "pass": MASK,
    }
    conf = "fs.azure.account.key.x.dfs.core.windows.net"
    assert applied(conf={conf: "abc"})["conf"] == {conf: MASK}


def test_an_address_keeps_all_but_the_password() -> None:
    cleaned = applied(url="postgresql://app:hunter2@db.internal:5432/app?sslmode=on")
    assert cleaned["url"] == f"postgresql://app:{MASK}@db.internal:5432/app?sslmode=on"


LIKE_ASCII = str.maketrans({"s": "\u017f", "k": "\u212a", "i": "\u0131"})


@pytest.mark.parametrize("name", ["password", "secret", "api_key", "credential", "private_key"])
def test_a_name_counts_in_any_letters(name: str) -> None:
    """In capitals, and in letters that match ASCII ones where case does not count."""
    for form in (name, name.upper(), name.title(), name.translate(LIKE_ASCII), name.replace("i", "\u0130")):
        assert applied(**{form: "hunter2"})[form] == MASK
        assert "hunter2" not in applied(m=f"with {form}=hunter2 in it")["m"]


WORDS = [
    "password", "passwd", "pwd", "secret", "token", "api", "access", "private", "key", "credential", "s",
    "authorization", "basic ", "bearer ", "ghp_", "glpat-", "xoxb-", "AKIA", "AIza", "eyJ", "sk_live_", "sk-",
    "-----BEGIN ", "PRIVATE KEY", "-----", "://", ":", "@", "/", "=", "-", "_", ".", " ", "\n", "\t", '"', "'",
    "\\", "{", "}", "[", "]", "(", ",", "--", "%3D", "é", "中", "\u017f", "\u212a", "\u0131", "\udc80", "\x00",
    "A" * 40, "a1" * 20, "x", "0", "value", "[redacted]", "[redacted:0123456789abcdef]",
]  # fmt: skip
MIXED = st.lists(
    st.sampled_from(WORDS)
    | st.sampled_from(WORDS).map(str.swapcase)
    | st.sampled_from(FOUND).map(lambda e: e.text),
    max_size=10,
).map("".join)


def in_the_forms_looked_at(text: str) -> list[bytes]:
    """Return every text in which `suspicious` may be asked about this one."""
    event = Event(event_type="a.b.v1", occurred_at=0, data={"m": [{"label": "x", "value": text}], "n": "y"})
    odd = Event(event_type="a.b.v1", occurred_at=0, data={"m": text, "at": object()}, job_name="j")
    column = Event(event_type="a.b.v1", occurred_at=0, partition=text)
    return [text.encode("utf-8", "surrogatepass"), *map(looked_at, (event, odd, column))]


@given(MIXED)
def test_looking_first_never_misses_what_is_found(text: str) -> None:
    """What is found where nobody asks first is suspected in every form of the text."""
    if list(found_unasked(plain_letters(text).encode())):
        assert all(map(suspicious, in_the_forms_looked_at(text)))


@pytest.mark.parametrize("sample", FOUND, ids=lambda each: f"{each.heading}-{each.form}")
def test_every_form_is_suspected(sample: Sample) -> None:
    for text in (sample.text, f"x\n{sample.text}", f"\t{sample.text}\n"):
        assert all(map(suspicious, in_the_forms_looked_at(text)))


# --- twice, and in time ------------------------------------------------------------------------------------


@given(MIXED)
@example("access_token$production$f2759f78baec76ec$069943ea68bd31203bd609b5e2abd8fepassword")
def test_a_cleaned_text_is_clean(redaction: Redaction, text: str) -> None:
    """As a text, as a name, and as a name that stands before its value: cleaned again it stays as it is."""
    data = {"m": text, text: 1, "pair": {"name": text, "value": "v" * 12}}
    once = redaction.apply(record(1, partition=text, data=data))
    again = redaction.apply(once)
    assert (again.partition, again.data) == (once.partition, once.data)


@given(events())
def test_redacting_twice_is_redacting_once(redaction: Redaction, event: Event) -> None:
    once = redaction.apply(event)
    assert redaction.apply(once).data == once.data


@pytest.mark.soak
@given(
    st.recursive(
        st.text() | st.none() | st.integers() | st.floats(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_payload_passes(value: Any) -> None:
    event = Event(event_type="a.b.v1", occurred_at=0, data={"v": value, "at": object()})
    assert set(Redaction().apply(event).data) <= {"v", "at", MARK}


NESTS: st.SearchStrategy[Any] = st.recursive(
    st.just("HERE") | st.text(max_size=4) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("HERE"), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(NESTS, st.sampled_from(FOUND), st.sampled_from(NAME_COLUMNS))
def test_no_byte_of_a_secret_is_encoded(redaction: Redaction, nest: Any, sample: Sample, column: str) -> None:
    """Planted anywhere in data, in values and in keys, and in any name."""
    event = record(1, data={"n": planted(nest, sample.text)}, **{column: sample.text})
    encoded = encode(redaction.apply(event), 0)
    kept = (encoded.entry + (encoded.blob or b"")).decode()
    assert not any(form in kept for secret in sample.secrets for form in (secret, json.dumps(secret)[1:-1]))


def planted(nest: Any, text: str) -> Any:
    if isinstance(nest, list):
        return [planted(each, text) for each in nest]
    if isinstance(nest, dict):
        return {planted(key, text): planted(each, text) for key, each in nest.items()}
    return text if nest == "HERE" else nest


def _units() -> Iterator[str]:
    """Yield what texts are made of that a pattern may read again and again: beginnings of every form, and marks."""
    for sample in samples():
        yield from {sample.text, sample.text[: len(sample.text) // 2], sample.text[:12]}
    yield from (
        "a.", "a-", "-eyJ", "token.", "sk-", "secret-", "://", "://a:", "://a:b@", "password=", "password='",
        'password="', "password=[", "password=('", '"password" ', "password:\n", "-p ", "curl -u a:b ", "\\\"",
        "eyJaaaaaaaa-AKIAAAAAAAAAAAAAAAAA-", "token ", "<password a", "[redacted]", "[redacted]password=",
        "pass\u017fword ", "\udc80password=", "中密码",
    )  # fmt: skip


def took(text: str, declared: Any = ()) -> float:
    """Return the processor's time for one text, in seconds."""
    started = time.process_time()
    find_secrets(text, declared)
    return time.process_time() - started


def is_linear(short: str, long: str, declared: Any = ()) -> bool:
    """Tell whether four times the length takes far less than sixteen times as long, by the best time of several."""
    best_short = best_long = math.inf
    for _ in range(5):
        best_short, best_long = min(best_short, took(short, declared)), min(best_long, took(long, declared))
        if best_long < 10 * best_short:
            return True
    return False


@pytest.mark.soak
@pytest.mark.parametrize("ending", ["", " password"])
def test_time_is_in_proportion_to_the_text(ending: str) -> None:
    """Four times the length takes about four times as long, whatever the text is made of; sixteen if quadratic."""
    find_secrets("password=x")  # compiles
    for unit in sorted(set(_units())):
        short, long = ((unit * (size // len(unit) + 1))[:size] + ending for size in (16_384, 65_536))
        assert is_linear(short, long), unit


DECLARED = ["(a+)+b", "(a|a)*b", "x(?:.*y)?", "KD-[0-9]{6}", "(?:x+x+)+y", "a.*b|a", r"\bred\w+", ".{3}"]


@pytest.mark.soak
@pytest.mark.parametrize("pattern", DECLARED)
def test_time_is_in_proportion_to_the_text_for_any_pattern_of_a_ledgers_own(tmp_path: Path, pattern: str) -> None:
    """Those that take Python's engine for ever, and those that read on to the end from each of many matches."""
    (tmp_path / "redaction.json").write_text(json.dumps({"patterns": {"own": pattern}}))
    declared = read_redaction(FolderStore(tmp_path)).declared
    for unit in ("a", "x", "xa", "a b", "KD-123456 "):
        short, long = ((unit * (size // len(unit) + 1))[:size] for size in (65_536, 262_144))
        assert is_linear(short, long, declared), unit


def test_a_text_with_very_many_secrets_is_one_from_there_on(tmp_path: Path) -> None:
    """No secret gets in because there were many before it."""
    text = " ".join(f"password=hunter{number}" for number in range(2 * MAX_FOUND)) + " the end"
    cleaned = applied(m=text)["m"]
    assert "hunter" not in cleaned
    assert cleaned.count(MASK) == MAX_FOUND + 1


# --- names -------------------------------------------------------------------------------------------------

NAMES = (
    st.tuples(
        st.sampled_from(["", "a", "eu/"]),
        st.sampled_from(["token:", "password=", "ftp://u:", "", "é token:"]),
        st.text("ab12é", min_size=1, max_size=6),
        st.sampled_from(["", "@host/x", " b", "\ud800", "\ud801", "x" * 1_100]),
    ).map("".join)
    | MIXED
)


@pytest.mark.soak
@given(NAMES, NAMES)
@example("token:abcdef", "token:abcdeg")
@example("ftp://u:abc@h/p", "ftp://u:abd@h/p")
def test_two_names_never_become_one(redaction: Redaction, one: str, other: str) -> None:
    """In every column that names something, as it is encoded; and as labels, keys and tags of one event."""
    if not (is_name(one) and is_name(other)):
        return
    columns = [
        {
            name: json.loads(encode(redaction.apply(record(1, **{name: text})), 0).entry)[name]
            for name in NAME_COLUMNS
        }
        for text in (one, other)
    ]
    assert all((columns[0][name] == columns[1][name]) == (one == other) for name in NAME_COLUMNS)
    labels = [{"label": text, "type": "int", "value": 1} for text in dict.fromkeys((one, other))]
    data = {
        "metadata": labels,
        "tags": dict.fromkeys((one, other), 1),
        "items": [{"partition": one}, {"partition": other}],
    }
    kept = redaction.apply(record(1, data=data)).data
    recorded: Any = json.loads(encode(record(1, data=kept), 0).entry)["data"]
    if "blob_sha256" in recorded:
        return
    assert len({entry["label"] for entry in kept["metadata"]}) == len(labels)
    assert len(recorded["tags"]) == len(labels)
    named = [item["partition"] for item in kept["items"]]
    assert named == [redaction.apply(record(1, partition=text)).partition for text in (one, other)]


def is_name(text: str) -> bool:
    """Tell what capture hands over as a name; what looks like a mask or a digest it has written otherwise."""
    return is_writable(text) or (not MASKED.search(text) and len(text) < 1_500 and "…sha256:" not in text)


def test_a_masked_name_cannot_be_guessed_from_the_ledger_alone(tmp_path: Path) -> None:
    """Another ledger writes the same name otherwise: the digest is under a key of the ledger's own."""
    written = {
        read_redaction(FolderStore(tmp_path / room)).apply(record(1, partition="token:abcdef")).partition
        for room in "ab"
    }
    assert len(written) == 2
    assert all(name and name.startswith("token:[redacted:") for name in written)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """When the first name needs it, and rivals end up with the same one."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append([record(1, data={"m": "password=hunter2"})])
    assert not paths(ledger).name_key.exists()
    with ThreadPoolExecutor(8) as rivals:
        keys = [NameKey(ledger.store) for _ in range(8)]
        assert len(set(rivals.map(lambda key: key.digest("x"), keys))) == 1
    assert stat.S_IMODE(paths(ledger).name_key.stat().st_mode) == 0o600
    ledger.append([record(2, partition="token:abcdef")])
    ledger.seal()
    assert verify(ledger).ok


def test_a_first_name_with_a_secret_makes_a_ledger_like_any_other(tmp_path: Path) -> None:
    """The key is there before anything else is."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    assert KEYED in str(ledger.redacted(record(1, partition="token:abcdef")).partition)
    ledger.append([record(1, partition="token:abcdef")])
    ledger.seal()
    assert verify(ledger).ok


def test_a_lost_key_gives_new_digests_and_merges_nothing(tmp_path: Path) -> None:
    first = NameKey(FolderStore(tmp_path)).digest("x")
    (tmp_path / "redaction.key").unlink()
    assert NameKey(FolderStore(tmp_path)).digest("x") != first


def test_without_a_usable_key_nothing_is_recorded(tmp_path: Path) -> None:
    """Rather nothing than a name that could be another's, or a secret."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.create()
    paths(ledger).name_key.write_text("short")
    with pytest.raises(EnvironmentFault, match="a key has 64"):
        ledger.append([record(1, partition="token:abcdef")])
    ledger.append([record(1, partition="plain")])
    if os.geteuid() != 0:
        paths(ledger).name_key.chmod(0)
        with pytest.raises(EnvironmentFault, match="cannot be read"):
            ledger.append([record(1, partition="token:abcdef")])


def test_the_digest_of_a_shortened_name_gives_no_secret_away(redaction: Redaction) -> None:
    """It is of the whole name and anybody can calculate it; where the name had a secret it is keyed."""
    digest = "0" * 64
    name = redaction.apply(record(1, partition=f"token:abcdef {'x' * 900}…sha256:{digest}")).partition
    assert name
    assert digest not in name
    assert name.count(KEYED) == 2


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
    paths(ledger).redaction.write_text('{"patterns": {"customer": "KD-[0-9]{6}"}, "personal": ["crm/*"]}')
    ledger.append([record(1, data={"m": "for KD-123456"}), record(2, asset_key="crm/people", data={"n": "Ada"})])
    assert b"KD-123456" not in stored(ledger)
    (blob,) = paths(ledger).blobs.iterdir()
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
    paths(ledger).redaction.write_text(content)
    with pytest.raises(InputError, match="nothing is recorded"):
        ledger.append([record(1)])
    assert list(paths(ledger).inbox.iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("(?<=KD-)[0-9]+", "look-around"), ("KD-[0-9]+(?! )", "look-around"), (r"(['\"])x\1", "repeat the pattern"),
        ("KD-[0-9]{,6}", "write {0,n}"), ("a++", "possessive"), ("(?>a+)b", "possessive"), ("a(", "missing"),
        ("x*", "matches an empty text"), (r"\b", "matches an empty text"), ("$", "matches an empty text"),
    ],
)  # fmt: skip
def test_a_pattern_that_re2_does_not_know_is_refused_with_what_to_change(
    tmp_path: Path, pattern: str, advice: str
) -> None:
    (tmp_path / "redaction.json").write_text(json.dumps({"patterns": {"mine": pattern}}))
    with pytest.raises(InputError) as told:
        read_redaction(FolderStore(tmp_path))
    assert advice in str(told.value)
    assert "'mine'" in str(told.value)
    assert "nothing is recorded" in str(told.value)


def test_without_rules_the_built_in_ones_hold(tmp_path: Path) -> None:
    read = read_redaction(FolderStore(tmp_path))
    assert (read.declared, read.personal) == ((), ())
    assert read.apply(record(1, data={"m": "password=hunter2"})).data["m"] == f"password={MASK}"
