"""Proofs as files: what somebody without the ledger needs to see that an entry is in it.

One entry is a C2SP `tlog-proof`, whose `extra` line carries the entry. A few entries under one checkpoint, of a
hand-over, are the same thing with more than one entry in it: `run-evidence-ledger/proof@v1`. The many of a run or
behind a document share their hashes, and are there as they are: `run-evidence-ledger/multi-proof@v1`
(docs/format.md, Proof files). Nothing here touches a disk, and nothing is believed: `ledger.proving.check` does the
checking.

Source: C2SP tlog-proof, Format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint, parse_stored
from run_evidence.ledger.tlog.keys import decode_base64, encode_base64
from run_evidence.ledger.tlog.merkle import HASH_BYTES, MAX_SIZE, parse_size

TLOG_PROOF: Final = "c2sp.org/tlog-proof@v1"
PROOF_BUNDLE: Final = "run-evidence-ledger/proof@v1"
MULTI_PROOF: Final = "run-evidence-ledger/multi-proof@v1"
MAX_PROOF_BYTES: Final = 1 << 30
MARK_DIGITS: Final = 8

_MAX_PATH: Final = 63
_SUBJECTS: Final = ("document", "run")
_HASHES: Final = "hashes"
_MARK: Final = re.compile(rf"[0-9a-f]{{{MARK_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An entry, where it is in the tree, and its audit path from the sibling up; none in a multi-proof.

    `entry` is `None` where the file leaves it to the reader to bring it. `mark` is how the leaf hash begins, in a
    multi-proof alone: of a changed entry it tells which one it is, and proves nothing.
    """

    index: int
    entry: bytes | None
    path: tuple[bytes, ...] = ()
    mark: str = ""


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """A smaller tree, and the consistency proof that it is a prefix of the tree of the head."""

    size: int
    root: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProofFile:
    """What a proof file says. `subject` is (`run`, its id), (`document`, its SHA-256 in hex) or `None`.

    Without a subject it is about one entry, and has no `growth`. `shared` are the hashes of a multi-proof.
    """

    inclusions: tuple[Inclusion, ...]
    head: StoredCheckpoint
    subject: tuple[str, str] | None = None
    growth: ConsistencyProof | None = None
    shared: tuple[bytes, ...] | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that everything in the file is proved against."""
        return self.head.checkpoint


def format_proof(proof: ProofFile) -> bytes:
    """Write a proof: a `tlog-proof` for one entry without a subject, else a bundle. Ends with the head.

    Raises: IntegrityError for an entry that cannot be a line of a multi-proof, and so is no event.
    """
    if proof.subject is None:
        (inclusion,) = proof.inclusions
        lines = _tlog_lines(inclusion)
    elif proof.shared is None:
        lines = _bundle_lines(proof, *proof.subject)
    else:
        lines = _multi_lines(proof, proof.shared, *proof.subject)
    return "".join(f"{line}\n" for line in [*lines, ""]).encode() + proof.head.message


def _tlog_lines(inclusion: Inclusion) -> list[str]:
    extra = [] if inclusion.entry is None else [f"extra {encode_base64(inclusion.entry)}"]
    return [TLOG_PROOF, *extra, f"index {inclusion.index}", *map(encode_base64, inclusion.path)]


def _opening(form: str, proof: ProofFile, kind: str, name: str) -> list[str]:
    lines = [form, f"{kind} {quote(name, safe='')}"]
    if proof.growth:
        lines.append(f"old {proof.growth.size} {encode_base64(proof.growth.root)}")
        lines.extend(map(encode_base64, proof.growth.path))
    return lines


def _multi_lines(proof: ProofFile, shared: tuple[bytes, ...], kind: str, name: str) -> list[str]:
    lines = _opening(MULTI_PROOF, proof, kind, name)
    for inclusion in proof.inclusions:
        try:
            text = (inclusion.entry or b"").decode()
        except UnicodeDecodeError:
            text = "\n"
        if "\n" in text:
            raise IntegrityError(f"entry {inclusion.index} is in the log and is no event: it is no line of text")
        lines.append(f"entry {inclusion.index} {inclusion.mark} {text}")
    return [*lines, _HASHES, *map(encode_base64, shared)]


def _bundle_lines(proof: ProofFile, kind: str, name: str) -> list[str]:
    lines = _opening(PROOF_BUNDLE, proof, kind, name)
    for inclusion in proof.inclusions:
        lines.append(f"entry {inclusion.index} {encode_base64(inclusion.entry or b'')}")
        lines.extend(map(encode_base64, inclusion.path))
    return lines


def parse_proof(data: bytes) -> ProofFile:
    """Read what `format_proof` wrote, or another log's `tlog-proof`; there is one text for each proof.

    Raises: IntegrityError for anything else.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise IntegrityError(f"a proof file of {len(data)} bytes; at most {MAX_PROOF_BYTES} are read")
    above, blank, message = data.partition(b"\n\n")
    if not blank:
        raise IntegrityError("a proof file has a blank line before its checkpoint; this one ends without")
    multi = above.startswith(f"{MULTI_PROOF}\n".encode())
    encoding = "utf-8" if multi else "ascii"
    try:
        lines = _Lines(above.decode(encoding).split("\n"))
    except UnicodeDecodeError as error:
        name = encoding.upper()
        raise IntegrityError(f"a proof file is {name} above its checkpoint; byte {error.start} is not") from None
    head = parse_stored(message)
    kind = lines.take()
    if multi:
        proof = _read_multi(lines, head)
    elif kind == TLOG_PROOF:
        proof = ProofFile((_read_tlog(lines),), head)
    elif kind == PROOF_BUNDLE:
        proof = _read_bundle(lines, head)
    else:
        forms = f"{TLOG_PROOF}, {PROOF_BUNDLE} or {MULTI_PROOF}"
        raise IntegrityError(f"not a proof file: it begins with {kind[:80]!r}, not {forms}")
    if lines.more:
        raise IntegrityError(f"line {lines.number} of the proof file is not expected: {lines.take()[:80]!r}")
    return proof


class _Lines:
    """The lines above the checkpoint, read one after the other."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0

    @property
    def number(self) -> int:
        return self._at + 1

    @property
    def more(self) -> bool:
        return self._at < len(self._lines)

    def next_is(self, word: str) -> bool:
        return self.more and self._lines[self._at].startswith(f"{word} ")

    def take(self) -> str:
        if not self.more:
            raise IntegrityError(f"the proof file ends before its line {self.number}")
        self._at += 1
        return self._lines[self._at - 1]

    def take_after(self, word: str) -> str:
        if not self.next_is(word):
            raise IntegrityError(f"line {self.number} of the proof file must begin with {word!r}")
        return self.take().removeprefix(f"{word} ")

    def take_hashes(self, at_most: int = _MAX_PATH) -> tuple[bytes, ...]:
        """Read the lines that are hashes: base64 has no space in it, and every other line has one."""
        hashes: list[bytes] = []
        while self.more and " " not in self._lines[self._at] and self._lines[self._at] != _HASHES:
            where = f"line {self.number} of the proof file"
            value = decode_base64(self.take(), where)
            if len(value) != HASH_BYTES or len(hashes) == at_most:
                raise IntegrityError(f"{where}: not one of at most {at_most} hashes of {HASH_BYTES} bytes")
            hashes.append(value)
        return tuple(hashes)


def _read_tlog(lines: _Lines) -> Inclusion:
    entry = None
    if lines.next_is("extra"):
        entry = decode_base64(lines.take_after("extra"), "the extra line of the proof file")
    index = parse_size(lines.take_after("index"), "the index line of the proof file")
    return Inclusion(index, entry, lines.take_hashes())


def _read_bundle(lines: _Lines, head: StoredCheckpoint) -> ProofFile:
    subject, growth = _read_subject(lines), _read_growth(lines)
    inclusions = [
        Inclusion(index, decode_base64(encoded, where), lines.take_hashes())
        for index, encoded, where in _read_entries(lines)
    ]
    return ProofFile(tuple(inclusions), head, subject, growth)


def _read_multi(lines: _Lines, head: StoredCheckpoint) -> ProofFile:
    subject, growth = _read_subject(lines), _read_growth(lines)
    inclusions = []
    for index, rest, where in _read_entries(lines):
        mark, _, text = rest.partition(" ")
        if not _MARK.fullmatch(mark):
            raise IntegrityError(
                f"{where}: entry {index} has no mark, the first {MARK_DIGITS} digits of its leaf hash"
            )
        inclusions.append(Inclusion(index, text.encode(), mark=mark))
    if not lines.more or lines.take() != _HASHES:
        raise IntegrityError(f"line {lines.number} of the proof file must be {_HASHES!r}")
    shared = lines.take_hashes(at_most=_MAX_PATH * max(len(inclusions), 1))
    return ProofFile(tuple(inclusions), head, subject, growth, shared)


def _read_growth(lines: _Lines) -> ConsistencyProof | None:
    if not lines.next_is("old"):
        return None
    size, _, root = lines.take_after("old").partition(" ")
    where = f"line {lines.number - 1} of the proof file"
    return ConsistencyProof(parse_size(size, where), _hash(root, where), lines.take_hashes())


def _read_entries(lines: _Lines) -> Iterator[tuple[int, str, str]]:
    """Yield index, what follows it, and where, of each line of an entry; the reader takes what comes after it."""
    before = -1
    while lines.next_is("entry"):
        where = f"line {lines.number} of the proof file"
        number, _, rest = lines.take_after("entry").partition(" ")
        index = parse_size(number, where)
        if not before < index <= MAX_SIZE:
            raise IntegrityError(f"{where}: entry {index} comes after entry {before}; they ascend")
        before = index
        yield index, rest, where


def _read_subject(lines: _Lines) -> tuple[str, str]:
    kind, _, quoted = lines.take().partition(" ")
    name = unquote(quoted, errors="replace")
    if kind not in _SUBJECTS or quote(name, safe="") != quoted:
        raise IntegrityError(f"line 2 of the proof file must be {' or '.join(_SUBJECTS)} and a quoted name")
    return kind, name


def _hash(text: str, where: str) -> bytes:
    value = decode_base64(text, where)
    if len(value) != HASH_BYTES:
        raise IntegrityError(f"{where}: a root is {HASH_BYTES} bytes, got {len(value)}")
    return value
