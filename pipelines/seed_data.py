"""`python -m pipelines.seed_data`: the seed data of the lessons under `data/`, made anew and the same every time.

One file of tickets of three days, some of its lines refused; documents, of which one lands with a warning and one
stays in quarantine; and their manifests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any, Final

from pipelines.samples import DEFAULT_SEED, Record, make_ticket, spoil

BATCH_ID: Final = "batch-20260415-001"
TICKETS: Final = "canonization/tickets/tickets-seed-001.jsonl"
DAYS: Final = ("2026-04-15", "2026-04-16", "2026-04-17")
TICKETS_PER_DAY: Final = 20
_SPOILED: Final = 2
_DELIVERED_AT: Final = "2026-04-17T23:59:59Z"
_DOCUMENTS: Final = {
    "canonization/documents/workspace-getting-started.html": (
        "<!doctype html>\n<title>Getting started with Northstar Workspace</title>\n"
        "<h1>Getting started</h1>\n<p>Sign in, invite your team, and create a first space.</p>\n"
    ),
    "canonization/documents/workspace-single-sign-on.html": (
        "<!doctype html>\n<title>Single sign-on</title>\n<h1>Single sign-on</h1>\n"
        "<p>Register the callback address of your identity provider. 单点登录。</p>\n"
    ),
    "canonization/documents/edge-gateway-installation.md": (
        "# Edge Gateway EG-3000: installation\n\n"
        "1. Mount the gateway.\n2. Connect the uplink.\n3. Wait for a green light.\n"
    ),
    "canonization/documents/edge-gateway-firmware-4.8.1.md": (
        "# Firmware 4.8.1\n\nKnown fault NS-021: the uplink drops after an upgrade. Restart the gateway.\n"
    ),
    "canonization/documents/edge-gateway-field-notes.md": (
        "# Field notes\n\nNotes of a technician; nobody has looked for personal data in them yet.\n"
    ),
}


def make_seed_data(root: Path, *, seed: int = DEFAULT_SEED) -> list[Path]:
    """Write the seed data under `root` (which is called `data`), replacing what is there; return the files."""
    files = {TICKETS: _tickets(Random(seed))}  # noqa: S311 - samples need repeatability, not secrecy
    files |= {name: text.encode() for name, text in _DOCUMENTS.items()}
    manifests = [_ticket_manifest(files), _help_center_manifest(files), _manuals_manifest(files)]
    for name, manifest in manifests:
        files[f"seed_manifests/{name}"] = (json.dumps(manifest, ensure_ascii=False, indent=2) + "\n").encode()
    for name, contents in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
    return [root / name for name in files]


def _tickets(random: Random) -> bytes:
    rows: list[Record] = []
    for day in DAYS:
        rows += [make_ticket(random, day, number) for number in range(1, TICKETS_PER_DAY + 1)]
    rows += spoil(random, DAYS[0], TICKETS_PER_DAY)[:_SPOILED]
    rows.append(rows[0])  # one is sent twice
    random.shuffle(rows)
    lines = [json.dumps({**row, "ingest_batch_id": BATCH_ID}, ensure_ascii=False) + "\n" for row in rows]
    return "".join(lines).encode()


def _ticket_manifest(files: dict[str, bytes]) -> tuple[str, Record]:
    asset = _asset(files, TICKETS, "structured:tickets:helpdesk_export", "jsonl", pii_scan_status="redacted")
    manifest = _manifest(
        "tickets-seed", modality="structured", source_type="ticket_export", contract="ticket", assets=[asset]
    )
    return "manifest_tickets_seed_v1.json", {**manifest, "batch_id": BATCH_ID}


def _help_center_manifest(files: dict[str, bytes]) -> tuple[str, Record]:
    pages = ("workspace-getting-started", "workspace-single-sign-on")
    assets = [
        _asset(files, f"canonization/documents/{page}.html", f"doc:workspace:{number:012d}", "html")
        for number, page in enumerate(pages, start=1)
    ]
    return "manifest_workspace_helpcenter_v1.json", _manifest(
        "workspace-helpcenter", modality="document", source_type="help_center", contract="doc_asset", assets=assets
    )


def _manuals_manifest(files: dict[str, bytes]) -> tuple[str, Record]:
    folder = "canonization/documents/edge-gateway"
    assets = [
        _asset(files, f"{folder}-installation.md", "doc:edge:000000000001", "markdown"),
        _asset(
            files, f"{folder}-firmware-4.8.1.md", "doc:edge:000000000002", "markdown", metadata_status="partial"
        ),
        _asset(files, f"{folder}-field-notes.md", "doc:edge:000000000003", "markdown", pii_scan_status="not_run"),
    ]
    return "manifest_edge_gateway_manuals_v1.json", _manifest(
        "edge-gateway-manuals", modality="document", source_type="manual", contract="doc_asset", assets=assets
    )


def _asset(files: dict[str, bytes], name: str, source_id: str, asset_type: str, **changes: str) -> Record:
    return {
        "source_id": source_id,
        "source_url_or_path": f"data/{name}",
        "asset_type": asset_type,
        "size_bytes": len(files[name]),
        "checksum_sha256": hashlib.sha256(files[name]).hexdigest(),
        "metadata_status": "complete",
        "pii_scan_status": "clear",
        "notes": "synthetic, made by pipelines.seed_data",
        **changes,
    }


def _manifest(name: str, *, modality: str, source_type: str, contract: str, assets: list[Any]) -> Record:
    return {
        "manifest_id": f"manifest-{name}-20260417-001",
        "schema_version": "source_manifest_v1",
        "batch_id": "batch-20260417-001",
        "modality": modality,
        "source_type": source_type,
        "product_line": "cross_product",
        "license_tag": "course_synthetic",
        "contract_ref": f"omni://contracts/data/{contract}/v1",
        "load_mode": "full_snapshot",
        "gate_policy": {
            "on_missing_checksum": "reject",
            "on_partial_metadata": "warn",
            "on_missing_metadata": "quarantine",
            "on_pii_gap": "quarantine",
            "on_contract_mismatch": "reject",
            "on_unknown_license": "reject",
        },
        "assets": assets,
        "created_at": _DELIVERED_AT,
        "owner": "data-platform",
    }


def main() -> None:
    """Write the seed data."""
    parser = argparse.ArgumentParser("python -m pipelines.seed_data", description=make_seed_data.__doc__)
    parser.add_argument("--output", type=Path, default=Path("data"), metavar="DIR")
    make_seed_data(parser.parse_args().output)


if __name__ == "__main__":
    main()
