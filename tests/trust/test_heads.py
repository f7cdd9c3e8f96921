"""Stored heads and the notes of keys have one form; anything else is an error of ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import IntegrityError, Ledger, LedgerError
from run_evidence.ledger.storage.checkpoints import (
    checkpoint_sizes,
    checkpoints_below,
    newest_checkpoint,
    read_checkpoint,
)
from run_evidence.ledger.storage.folder import FolderStore
from run_evidence.ledger.storage.keyring import KeyRecord, read_records, record_key, record_signed_from
from run_evidence.ledger.tlog.checkpoint import Checkpoint, format_checkpoint, parse_stored
from run_evidence.ledger.tlog.keys import format_vkey
from run_evidence.ledger.tlog.note import sign_note
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, signed_ledger
from tests.trust.test_signing import cli

TEXT = format_checkpoint(Checkpoint("log", 7, bytes(32)))


def test_signed_and_unsigned_heads_are_read_alike() -> None:
    bare, signed = parse_stored(TEXT.encode()), parse_stored(sign_note(TEXT, [LOG_KEY]))
    assert bare.checkpoint == signed.checkpoint
    assert bare.text == signed.text == TEXT
    assert (bare.signatures, signed.names(LOG_KEY.verifier())) == ((), True)
    assert not signed.names(OTHER_KEY.verifier())


@given(st.binary(max_size=120) | st.text(max_size=60).map(lambda t: (TEXT + t).encode("utf-8", "replace")))
def test_whatever_the_bytes_the_outcome_is_a_head_or_our_error(message: bytes) -> None:
    with suppress(LedgerError):
        head = parse_stored(message)
        assert head.message == message
        assert message.startswith(format_checkpoint(head.checkpoint).encode())


@pytest.mark.parametrize("message", [b"", b"\xff\n7\n", TEXT.encode()[:-1], TEXT.encode() + b"\n", b"\n\n" * 9])
def test_what_is_no_head_is_refused(message: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_stored(message)


def test_heads_are_found_by_size(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5, 9, 30])
    (paths(ledger).checkpoints / ".tmp-x").write_bytes(b"half")
    (paths(ledger).checkpoints / "notes").write_bytes(b"mine")
    assert checkpoint_sizes(ledger.store) == [30, 9, 5]
    assert [head.checkpoint.size for head in checkpoints_below(ledger.store, below=30)] == [9, 5]
    assert read_checkpoint(ledger.store, 8) is None
    assert [
        h.checkpoint.size for h in (newest_checkpoint(ledger.store), newest_checkpoint(ledger.store, 8)) if h
    ] == [30, 5]
    paths(ledger).checkpoint(9).rename(paths(ledger).checkpoint(8))
    with pytest.raises(IntegrityError, match="of 9 entries, expected 8"):
        read_checkpoint(ledger.store, 8)
    assert newest_checkpoint(FolderStore(tmp_path / "nowhere")) is None


def test_the_notes_of_keys_round_trip_in_the_order_of_their_use(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert read_records(store) == []
    record_key(store, OTHER_KEY.verifier())
    record_key(store, LOG_KEY.verifier())
    record_signed_from(store, LOG_KEY.verifier(), 9)
    assert read_records(store) == [KeyRecord(LOG_KEY.verifier(), 9), KeyRecord(OTHER_KEY.verifier())]
    record_key(store, LOG_KEY.verifier())
    assert read_records(store)[0].signed_from == 9


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", '{"vkey":5}\n', '{"vkey":"x"}\n', f'{{"vkey":"{format_vkey(LOG_KEY.verifier())}"}}',
        f'{{"signed_from":0,"vkey":"{format_vkey(LOG_KEY.verifier())}"}}\n',
        f'{{"signed_from":true,"vkey":"{format_vkey(LOG_KEY.verifier())}"}}\n',
        f'{{"signed_from":"9","vkey":"{format_vkey(LOG_KEY.verifier())}"}}\n',
        f'{{"more":1,"vkey":"{format_vkey(LOG_KEY.verifier())}"}}\n',
        f'{{"vkey":"{format_vkey(OTHER_KEY.verifier())}"}}\n',
    ],
)  # fmt: skip
def test_other_notes_of_keys_are_refused(tmp_path: Path, content: str) -> None:
    store = FolderStore(tmp_path)
    record_key(store, LOG_KEY.verifier())
    (path,) = (tmp_path / "keys").iterdir()
    path.write_text(content)
    with pytest.raises(IntegrityError, match="is not the record of a key"):
        read_records(store)


def test_a_process_without_the_key_is_told(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5])
    Ledger(ledger.root).seal()
    told = cli(tmp_path, "seal")
    assert (told.returncode, "this ledger has a key, and this process does not" in told.stderr) == (0, True)
