"""A consumer that knows docs/handover.md and docs/format.md and nothing of this software: it imports none of it."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HOLDING_BACK = {"manual_review_required", "dry_run_only", "hold_downstream"}
NOT_LISTED = {"index.json", "handover.proof", "checkpoint"}
LARGEST = 1 << 26


class Rejected(Exception):
    """The hand-over does not hold."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise Rejected(what)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Consumer:
    """One recipient, with the key of a log. `last` is by (log, product, partition) the entry and the evidence."""

    def __init__(self, vkey: str, origin: str) -> None:
        self.origin = origin
        name, key_id, material = vkey.split("+", 2)
        self.name, self.key_id, self.public = name, bytes.fromhex(key_id), base64.b64decode(material)[1:]
        self.last: dict[tuple[str, str, str], tuple[int, str]] = {}

    def accept(self, folder: Path, partition: str, to: str) -> str:
        """Return the decision, `hold` where a person holds it. Raises: Rejected."""
        try:
            return self._accept(folder, partition, to)
        except (KeyError, ValueError, TypeError, IndexError, OSError, AttributeError, InvalidSignature) as error:
            raise Rejected(repr(error)) from error

    def _accept(self, folder: Path, partition: str, to: str) -> str:
        files = self._files(folder)
        index = json.loads(files["index.json"])
        need(index["handover_schema_version"] == "run_evidence_handover_v1", "another form")
        listed = {each["name"]: each for each in index["files"]}
        need(files.keys() == listed.keys() | NOT_LISTED, "files that are not listed, or missing")

        origin, subject, entries = self._proof(files)
        digest = sha256(files["index.json"])
        need(subject == f"document {digest}", "a proof of something else")
        ((at, record),) = [
            (i, e["data"]) for i, e in entries.items() if self._records(e, digest) and "handover" in e["data"]
        ]
        said = record["handover"]
        need(index["log"]["origin"] == origin == self.origin, "another log")
        need(all(index.get(name) == value for name, value in said.items()), "the index says something else")
        need((said["partition"], said.get("to")) == (partition, to), "not what was asked for")

        for name, each in listed.items():
            need(sha256(files[name]) == each["sha256"], f"{name} was changed")
        need(index["evidence_sha256"] == listed["evidence.json"]["sha256"], "two digests of the evidence")
        of = (said["run_id"], said["as_of_size"])
        need(
            any(
                self._records(e, said["evidence_sha256"])
                and (e["data"].get("run_id"), e["data"].get("as_of_size")) == of
                for e in entries.values()
            ),
            "the evidence was not recorded",
        )
        evidence = json.loads(files["evidence.json"])
        names = ("evidence_schema_version", "run_id", "partition_key", "status", "downstream_decision")
        wanted = [said[name] for name in ("contract", "run_id", "partition", "status", "decision")]
        need([evidence[name] for name in names] == wanted, "the evidence says something else")
        self._statement(json.loads(files["statement.intoto.json"]), said, evidence)
        self._outcomes(said, evidence, entries)
        signed = self._signed_off(index["sign_off"], said, entries)

        log = (origin, said["product"], said["partition"])
        says = f"{said['evidence_sha256']} {index['sign_off']}"
        before = self.last.get(log, (-1, ""))
        need(before[0] <= at or before[1] == says, "a newer one was accepted before")
        self.last[log] = max(before, (at, says))
        return "hold" if signed == "hold" else str(said["decision"])

    def _signed_off(self, told: Any, said: dict[str, Any], entries: dict[int, dict[str, Any]]) -> str | None:
        if told is None:
            return None
        entry = entries[told["entry"]]
        need(entry["event_type"] == "delivery.signed_off.v1", "no sign-off")
        names = ("decision", "actor", "reason")
        need([told[name] for name in names] == [entry["data"][name] for name in names], "the log says otherwise")
        about = ("product", "partition", "run_id")
        need(all(entry["data"][name] == said[name] for name in about), "a sign-off of another delivery")
        return str(told["decision"])

    def _files(self, folder: Path) -> dict[str, bytes]:
        found = {}
        for path in folder.rglob("*"):
            need(not path.is_symlink(), f"{path} is a link")
            if path.is_dir():
                need(path.parent == folder, "a folder in a folder")
                continue
            need(path.is_file() and path.stat().st_size < LARGEST, f"{path} is no file, or a huge one")
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
        return found

    def _proof(self, files: dict[str, bytes]) -> tuple[str, str, dict[int, dict[str, Any]]]:
        above, _, checkpoint = files["handover.proof"].partition(b"\n\n")
        need(checkpoint == files["checkpoint"], "another checkpoint")
        text, _, signatures = checkpoint.decode().partition("\n\n")
        text += "\n"
        values = [line.split(" ")[2] for line in signatures.splitlines() if line.startswith(f"— {self.name} ")]
        mine = [v for v in map(base64.b64decode, values) if v[:4] == self.key_id]
        need(mine, "not signed by the key")
        for value in mine:
            Ed25519PublicKey.from_public_bytes(self.public).verify(value[4:], text.encode())
        origin, count, root = text.splitlines()
        size, tree = int(count), base64.b64decode(root)

        kind, subject, *lines = above.decode().split("\n")
        need(kind == "run-evidence-ledger/proof@v1", "no proof")
        entries, position = {}, 0
        while position < len(lines):
            word, index, data = lines[position].split(" ")
            need(word == "entry", "a line of another kind")
            path = []
            position += 1
            while position < len(lines) and " " not in lines[position]:
                path.append(base64.b64decode(lines[position], validate=True))
                position += 1
            entry = base64.b64decode(data, validate=True)
            need(self._root(int(index), size, entry, path) == tree, f"entry {index} is not in the log")
            entries[int(index)] = json.loads(entry)
        return origin, subject, entries

    def _root(self, index: int, size: int, entry: bytes, path: list[bytes]) -> bytes:
        """RFC 9162 section 2.1.3.2."""
        need(index < size, "no such entry")
        node, last, value = index, size - 1, hashlib.sha256(b"\0" + entry).digest()
        for sibling in path:
            need(last > 0, "a path that is too long")
            if node & 1 or node == last:
                value = hashlib.sha256(b"\1" + sibling + value).digest()
                while node and not node & 1:
                    node, last = node >> 1, last >> 1
            else:
                value = hashlib.sha256(b"\1" + value + sibling).digest()
            node, last = node >> 1, last >> 1
        need(last == 0, "a path that is too short")
        return value

    def _records(self, entry: dict[str, Any], digest: str) -> bool:
        if entry["event_type"] != "document.derived.v1":
            return False
        return digest in [each["sha256"] for each in entry["data"].get("documents", [])]

    def _statement(self, envelope: dict[str, Any], said: dict[str, Any], evidence: dict[str, Any]) -> None:
        payload, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"]
        need(kind == "application/vnd.in-toto+json", "another type of statement")
        message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        key_id = f"{self.name}+{self.key_id.hex()}"
        (signature,) = [each["sig"] for each in envelope["signatures"] if each["keyid"] == key_id]
        Ed25519PublicKey.from_public_bytes(self.public).verify(base64.b64decode(signature), message)
        statement = json.loads(payload)
        subject = [{"name": "evidence.json", "digest": {"sha256": said["evidence_sha256"]}}]
        need(statement["subject"] == subject, "a statement about something else")
        need(statement["predicate"] == {**said, "evidence": evidence}, "a statement that says something else")

    def _outcomes(self, said: dict[str, Any], evidence: dict[str, Any], entries: dict[int, Any]) -> None:
        if not said["final"]:
            need(said["decision"] in HOLDING_BACK, "an open run proceeds")
            return
        found: dict[str, dict[int, dict[int, Any]]] = {}
        for index, entry in entries.items():
            if entry["event_type"] == "outcomes.derived.v1" and index < said["as_of_size"]:
                data = entry["data"]
                found.setdefault(entry["run_id"], {}).setdefault(data["revision"], {})[data["part"]] = data
        outcomes = {}
        for run, revisions in found.items():
            parts = revisions[max(revisions)]
            need(all(part["parts"] == len(parts) for part in parts.values()), "a part is missing")
            told = [outcome for part in parts.values() for outcome in part["outcomes"]]
            outcomes[run] = [o for o in told if o.get("partition") in (None, said["partition"])]
        own = outcomes.pop(said["run_id"])
        inherited = [outcome for others in outcomes.values() for outcome in others]
        words = {"check_passed": "passed", "check_warned": "warning", "check_failed": "failed"}

        def told_of(found: list[Any]) -> dict[tuple[str, str], set[str]]:
            by_name: dict[tuple[str, str], set[str]] = {}
            for o in (o for o in found if o["kind"] == "check"):
                by_name.setdefault((o["check_name"], o["asset_key"]), set()).add(words.get(o["outcome"], "skipped"))
            return by_name

        checks = [check for check in evidence["checks"] if check["name"] != "ledger_amendments"]
        of_run, wanted = told_of(own), {**told_of(inherited), **told_of(own)}
        names = [(check["name"], check["metadata"]["asset_key"]) for check in checks]
        for name, check in zip(names, checks, strict=True):
            need(check["status"] in wanted[name], f"{name} has another outcome")
        need(of_run.keys() <= set(names), "a check is left out")
        if said["decision"] not in HOLDING_BACK:
            made = [o for o in [*own, *inherited] if o["asset_key"] == said["product"] and o["kind"] != "check"]
            need(made and made[0]["outcome"] == "materialized", "the product was not made")
            need({check["status"] for check in checks} <= {"passed"}, "a check did not pass")
