"""Source manifests (`source_manifest_v1`): what an ingest means to do, read and held to its contract.

Reading says only whether a manifest is well-formed; whether its sources may be used is judged in
`pipelines.ingestion.gate`. Fields beyond the contract's (product line, canonisation status, parser settings) are
allowed and not interpreted.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipelines.partitions import parse_instant
from pipelines.strict_json import (
    BYTE_ORDER_MARK,
    NotAnObjectError,
    NotJsonError,
    StrictObject,
    read_object,
)
from run_evidence.ledger import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

DATA_FOLDER_NAME: Final = "data"
MANIFEST_SCHEMA: Final = "source_manifest_v1"
TICKET_CONTRACT: Final = "omni://contracts/data/ticket/v1"
CONTRACT_REFS: Final = frozenset(
    f"omni://contracts/data/{name}/v1" for name in ("doc_asset", "ticket", "audio_asset", "video_asset")
)
MODALITIES: Final = frozenset({"document", "image", "audio", "video", "structured", "multimodal"})
LICENSE_TAGS: Final = frozenset(
    {"public_domain", "cc_by", "cc_by_sa", "course_synthetic", "proprietary", "unknown"}
)
LOAD_MODES: Final = frozenset({"full_snapshot", "incremental_cursor", "cdc", "replay", "backfill"})
METADATA_STATUSES: Final = frozenset({"complete", "partial", "missing", "unknown"})
PII_SCAN_STATUSES: Final = frozenset({"clear", "redacted", "not_applicable", "suspected", "not_run", "unknown"})

_MANIFEST_ID = re.compile(r"manifest-[a-z0-9_-]+-(\d{4})(\d{2})(\d{2})-\d{3}", re.ASCII)
_CHECKSUM = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NEXT_STEP = "correct the manifest, or ask its owner for a new delivery"


class Judgement(StrEnum):
    """What becomes of a source, from harmless to refused; the worst of several is the one that counts."""

    ACCEPT = "accept"
    WARN = "warn"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def rank(self) -> int:
        """Position in the order of severity: 0 for accept, 3 for reject."""
        return list(Judgement).index(self)


@dataclass(frozen=True, slots=True)
class ManifestGatePolicy:
    """The judgement a manifest's owner asks for in each case. The defaults hold where it says nothing."""

    on_missing_checksum: Judgement = Judgement.WARN
    on_partial_metadata: Judgement = Judgement.WARN
    on_missing_metadata: Judgement = Judgement.QUARANTINE
    on_pii_gap: Judgement = Judgement.QUARANTINE
    on_contract_mismatch: Judgement = Judgement.REJECT
    on_unknown_license: Judgement = Judgement.REJECT


@dataclass(frozen=True, slots=True)
class SourceAsset:
    """One source a manifest declares. None where the manifest does not say."""

    source_id: str
    source_url_or_path: str
    asset_type: str
    contract_ref: str | None
    size_bytes: int | None
    checksum_sha256: str | None
    metadata_status: str
    pii_scan_status: str
    notes: str | None


@dataclass(frozen=True, slots=True)
class SelectionWindow:
    """The instants a manifest says its rows were selected by: `start <= instant < end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Manifest:
    """A well-formed manifest and the file it came from. `delivery_day` is the date inside its id."""

    path: Path
    manifest_id: str
    batch_id: str
    delivery_day: str
    modality: str
    source_type: str
    license_tag: str
    contract_ref: str
    load_mode: str
    gate_policy: ManifestGatePolicy
    assets: tuple[SourceAsset, ...]
    selection_window: SelectionWindow | None
    created_at: datetime
    owner: str


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where a factory looks for its input. `ticket_seed_path` replaces the files the manifests name."""

    manifest_path: Path
    ticket_seed_path: Path | None = None
    bucket: str | None = None

    @property
    def data_folder(self) -> Path:
        """The folder that every source lies in: that of the manifests, or `data` if that is the one above it."""
        path = self.manifest_path
        folder = path.parent if path.is_file() else path
        above = folder.parent if folder.name not in {"", ".."} else folder.resolve().parent
        return above if above.name == DATA_FOLDER_NAME else folder


@dataclass(frozen=True, slots=True)
class ManifestProblem:
    """A file that should be a manifest and is not. `delivery_day` is None when not even that can be read."""

    path: Path
    error: InputError
    delivery_day: str | None


@dataclass(frozen=True, slots=True)
class ManifestScan:
    """Everything found under one path, in path order: manifests, and files that failed to be one."""

    manifests: tuple[Manifest, ...]
    problems: tuple[ManifestProblem, ...]


@dataclass(slots=True)
class _Record:
    """A JSON object being read, and where it is, so that every complaint names file and field."""

    path: Path
    values: dict[str, Any]
    prefix: str = ""

    def wrong(self, name: str, expected: str) -> InputError:
        got = json.dumps(self.values[name])[:80] if name in self.values else "nothing"
        return InputError(
            f"{self.path}: field '{self.prefix}{name}': expected {expected}, got {got}", next_step=_NEXT_STEP
        )

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, "a text")
        return value

    def choice(self, name: str, choices: frozenset[str], *, default: str | None = None) -> str:
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or value not in choices:
            raise self.wrong(name, f"one of {', '.join(sorted(choices))}")
        return value

    def instant(self, name: str) -> datetime:
        value = self.values.get(name)
        instant = parse_instant(value) if isinstance(value, str) else None
        if instant is None:
            raise self.wrong(name, "an RFC 3339 time with an offset, such as 2026-04-17T00:00:00Z")
        return instant

    def objects(self, name: str) -> Iterator[_Record]:
        value = self.values.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "a list of at least one object")
        for index, item in enumerate(value):
            yield _Record(self.path, item, f"{self.prefix}{name}[{index}].")

    def optional_object(self, name: str) -> _Record:
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return _Record(self.path, value or {}, f"{self.prefix}{name}.")


def scan_manifests(path: Path) -> ManifestScan:
    """Read every manifest under a folder (recursively), or the one in a file.

    A `.json` file in the folder that states another `schema_version`, or none, is not a manifest and is left
    alone; one that is not JSON at all is a problem, because it may be a manifest somebody broke. The second
    manifest with an id already seen is a problem too.

    Raises: InputError when the path does not exist or holds no manifest at all.
    """
    if not path.exists():
        raise InputError(
            f"{path}: no such manifest file or folder",
            next_step="set SEED_MANIFEST_PATH to a manifest or to a folder of deliveries",
        )
    manifests: dict[str, Manifest] = {}
    problems: list[ManifestProblem] = []
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        values: dict[str, Any] = {}
        try:
            found = _read_object(file)
            unsure = {fault.path for fault in found.faults}
            values = found.values if "manifest_id" not in unsure else {}
            stated = found.values.get("schema_version")
            if path.is_dir() and stated != MANIFEST_SCHEMA and "schema_version" not in unsure:
                continue
            _refuse_faults(file, found)
            manifest = _parse(_Record(file, found.values))
            _refuse_second(manifest, manifests)
            manifests[manifest.manifest_id] = manifest
        except InputError as error:
            problems.append(ManifestProblem(file, error, _delivery_day(values.get("manifest_id"))))
    if not manifests and not problems:
        raise InputError(
            f"{path}: no manifest found: expected *.json files with schema_version {MANIFEST_SCHEMA!r}",
            next_step="set SEED_MANIFEST_PATH to the folder the deliveries are in",
        )
    return ManifestScan(tuple(manifests.values()), tuple(problems))


def _refuse_faults(path: Path, found: StrictObject) -> None:
    if found.faults:
        first, *more = found.faults
        others = f" (and {len(more)} more)" if more else ""
        raise InputError(f"{path}: field '{first.path}': {first.text}{others}", next_step=_NEXT_STEP)


def _refuse_second(manifest: Manifest, seen: dict[str, Manifest]) -> None:
    first = seen.get(manifest.manifest_id)
    if first is not None:
        raise InputError(
            f"{manifest.path}: field 'manifest_id': {manifest.manifest_id} is already used by {first.path}",
            next_step="give each manifest an id of its own, or remove the copy",
        )


def _read_object(path: Path) -> StrictObject:
    try:
        found = read_object(path.read_bytes().removeprefix(BYTE_ORDER_MARK))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}", next_step="check the path and its permissions"
        ) from error
    except NotJsonError as error:
        raise InputError(f"{path}: expected a JSON object, but it is {error}", next_step=_NEXT_STEP) from error
    except NotAnObjectError as error:
        raise InputError(f"{path}: {error}", next_step=_NEXT_STEP) from error
    return found


def _delivery_day(manifest_id: object) -> str | None:
    match = _MANIFEST_ID.fullmatch(manifest_id) if isinstance(manifest_id, str) else None
    day = "-".join(match.groups()) if match else ""
    return day if parse_instant(f"{day}T00:00:00Z") else None


def _parse(record: _Record) -> Manifest:
    record.choice("schema_version", frozenset({MANIFEST_SCHEMA}))
    manifest_id = record.text("manifest_id")
    delivery_day = _delivery_day(manifest_id)
    if delivery_day is None:
        raise record.wrong("manifest_id", "manifest-<name>-YYYYMMDD-NNN")
    assets = tuple(_parse_asset(asset) for asset in record.objects("assets"))
    _refuse_second_source(record, assets)
    return Manifest(
        path=record.path,
        manifest_id=manifest_id,
        batch_id=record.text("batch_id"),
        delivery_day=delivery_day,
        modality=record.choice("modality", MODALITIES),
        source_type=record.text("source_type"),
        license_tag=record.choice("license_tag", LICENSE_TAGS),
        contract_ref=record.choice("contract_ref", CONTRACT_REFS),
        load_mode=record.choice("load_mode", LOAD_MODES),
        gate_policy=_parse_policy(record.optional_object("gate_policy")),
        assets=assets,
        selection_window=_parse_window(record.optional_object("selection_window")),
        created_at=record.instant("created_at"),
        owner=record.text("owner"),
    )


def _refuse_second_source(record: _Record, assets: tuple[SourceAsset, ...]) -> None:
    """Refuse two sources of one id, spelt alike or in another Unicode form."""
    seen: dict[str, int] = {}
    for index, asset in enumerate(assets):
        first = seen.setdefault(unicodedata.normalize("NFKC", asset.source_id), index)
        if first != index:
            where = f"{record.path}: field 'assets[{index}].source_id'"
            raise InputError(f"{where}: already used by assets[{first}]", next_step=_NEXT_STEP)


def _parse_policy(record: _Record) -> ManifestGatePolicy:
    defaults = ManifestGatePolicy()
    names = ManifestGatePolicy.__dataclass_fields__
    unknown = sorted(record.values.keys() - names.keys())
    if unknown:  # a misspelt rule would silently fall back to its default
        raise record.wrong(unknown[0], f"only {', '.join(names)}")
    judgements = frozenset(judgement.value for judgement in Judgement)

    def judgement(name: str) -> Judgement:
        return Judgement(record.choice(name, judgements, default=getattr(defaults, name)))

    return ManifestGatePolicy(**{name: judgement(name) for name in names})


def _parse_asset(record: _Record) -> SourceAsset:
    size = record.values.get("size_bytes")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise record.wrong("size_bytes", "a number of bytes, 0 or more")
    checksum = record.values.get("checksum_sha256")
    if checksum is not None and not (isinstance(checksum, str) and _CHECKSUM.fullmatch(checksum)):
        raise record.wrong("checksum_sha256", "64 lower-case hex digits")
    has_contract = record.values.get("contract_ref") is not None
    return SourceAsset(
        source_id=record.text("source_id"),
        source_url_or_path=record.text("source_url_or_path"),
        asset_type=record.text("asset_type"),
        contract_ref=record.choice("contract_ref", CONTRACT_REFS) if has_contract else None,
        size_bytes=size,
        checksum_sha256=checksum,
        metadata_status=record.choice("metadata_status", METADATA_STATUSES, default="unknown"),
        pii_scan_status=record.choice("pii_scan_status", PII_SCAN_STATUSES, default="unknown"),
        notes=record.text("notes") if record.values.get("notes") else None,
    )


def _parse_window(record: _Record) -> SelectionWindow | None:
    for start, end in (("start_at", "end_at"), ("cursor_start", "cursor_end")):
        if record.values.get(start) is not None and record.values.get(end) is not None:
            window = SelectionWindow(record.instant(start), record.instant(end))
            if window.end <= window.start:
                raise record.wrong(end, f"a time after {start}")
            return window
    return None
