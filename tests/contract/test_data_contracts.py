"""The data contracts that are shipped, and the seed manifests held to theirs, as Week03's lesson asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from pipelines.contract import CONTRACTS
from pipelines.manifests import scan_manifests
from pipelines.partitions import parse_instant
from pipelines.tickets import REQUIRED_FIELDS

ROOT = Path(__file__).parents[2]
SEED_MANIFESTS = sorted((ROOT / "data/seed_manifests").glob("*.json"))
DATA_CONTRACTS = ("doc_asset", "ticket", "audio_asset", "video_asset")

formats = FormatChecker(())
formats.checks("date-time")(lambda value: not isinstance(value, str) or parse_instant(value) is not None)


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((CONTRACTS / name).read_text(encoding="utf-8"))
    return schema


def _breaches(manifest: Any) -> list[str]:
    validator = Draft202012Validator(_schema("source_manifest_schema.json"), format_checker=formats)
    return [error.json_path for error in validator.iter_errors(manifest)]


@pytest.mark.parametrize("name", DATA_CONTRACTS)
def test_each_data_contract_is_a_schema_of_its_own_address(name: str) -> None:
    schema = _schema(f"{name}_contract.json")
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"omni://contracts/data/{name}/v1"
    assert schema["properties"]["schema_version"]["enum"] == [f"{name}_v1"]
    assert set(schema["required"]) <= schema["properties"].keys()
    assert schema["additionalProperties"] is False


def test_the_ticket_contract_requires_what_a_ticket_needs() -> None:
    assert set(_schema("ticket_contract.json")["required"]) == set(REQUIRED_FIELDS)
    assert {"ticket_id", "source_id", "ingest_batch_id", "status", "created_at"} <= set(REQUIRED_FIELDS)


@pytest.mark.parametrize("path", SEED_MANIFESTS, ids=lambda path: path.stem)
def test_every_seed_manifest_passes_its_schema(path: Path) -> None:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert {"manifest_id", "modality", "assets"} <= manifest.keys()
    assert _breaches(manifest) == []


def test_there_are_seed_manifests_of_tickets_and_documents() -> None:
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in SEED_MANIFESTS]
    assert {manifest["modality"] for manifest in manifests} == {"structured", "document"}


def _changed(*path: Any, value: Any) -> Any:
    """Return a seed manifest in which one member is another value; `...` takes it away."""
    manifest = json.loads(SEED_MANIFESTS[0].read_text(encoding="utf-8"))
    *inner, last = path
    place = manifest
    for step in inner:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return manifest


REFUSED = [
    *((name, ...) for name in ("manifest_id", "batch_id", "modality", "source_type", "license_tag", "owner")),
    *((name, ...) for name in ("contract_ref", "load_mode", "assets", "created_at")),
    ("manifest_id", "manifest-x"),
    ("modality", "hologram"),
    ("license_tag", None),
    ("contract_ref", "omni://contracts/data/ticket/v2"),
    ("load_mode", 1),
    ("created_at", "2026-04-17"),
    ("created_at", "2026-04-17T00:00:00"),
    ("owner", " "),
    ("assets", []),
    ("assets", {}),
    ("gate_policy", {"on_missing_checksums": "warn"}),
    ("gate_policy", {"on_missing_checksum": "ignore"}),
]
REFUSED_IN_A_SOURCE = [
    ("source_id", ...),
    ("source_url_or_path", ""),
    ("asset_type", 7),
    ("size_bytes", -1),
    ("size_bytes", "828"),
    ("size_bytes", True),
    ("checksum_sha256", "ABC"),
    ("checksum_sha256", "A" * 64),
    ("metadata_status", "fine"),
    ("pii_scan_status", "maybe"),
    ("contract_ref", "omni://elsewhere"),
]


@pytest.mark.parametrize(
    "manifest",
    [
        *(_changed(name, value=value) for name, value in REFUSED),
        *(_changed("assets", 0, name, value=value) for name, value in REFUSED_IN_A_SOURCE),
    ],
)
def test_schema_and_reader_refuse_the_same(tmp_path: Path, manifest: Any) -> None:
    """What passes the shipped schema is what the factory reads, and the other way round."""
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert _breaches(manifest)
    assert scan_manifests(path).problems
