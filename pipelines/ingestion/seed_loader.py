"""`python -m pipelines.ingestion.seed_loader`: read seed manifests and judge every source they declare.

A manifest says what an ingest means to do. Nothing is written here: what is accepted is ingested by
`ticket_ingest`, `doc_ingest` and the assets over them, which judge again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.ingestion.command import print_sources, run
from pipelines.ingestion.gate import judge_manifest
from pipelines.ingestion.result import IngestResult, Outcome, outcome_of, outcome_of_problem
from pipelines.manifests import Judgement, SourceSettings, scan_manifests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OUTCOME_OF: Final[dict[Judgement, Outcome]] = {
    Judgement.ACCEPT: "success",
    Judgement.WARN: "success",
    Judgement.QUARANTINE: "skip",
    Judgement.REJECT: "fail",
}


def load_seeds(settings: SourceSettings) -> IngestResult:
    """Judge every source of every manifest under a path.

    Cost: one read of every local source.

    Raises: InputError when the path is not there or holds no manifest.
    """
    scan = scan_manifests(settings.manifest_path)
    judged = [
        judge_manifest(manifest, bucket=settings.bucket, data_folder=settings.data_folder)
        for manifest in scan.manifests
    ]
    outcomes = [
        outcome_of(each.manifest.manifest_id, asset, OUTCOME_OF[asset.judgement])
        for each in judged
        for asset in each.assets
    ]
    return IngestResult((*outcomes, *(outcome_of_problem(problem) for problem in scan.problems)))


def add_manifest_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where manifests are."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--manifest-dir", dest="manifests", type=Path, metavar="DIR", help="a folder of manifests")
    where.add_argument("--manifest-path", dest="manifests", type=Path, metavar="FILE", help="one manifest")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Judge the manifests and print what came of it; 1 when a source is refused, or none could be taken."""
    parser = argparse.ArgumentParser("python -m pipelines.ingestion.seed_loader", description=load_seeds.__doc__)
    add_manifest_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="taken for the lessons' sake: nothing is written")
    given = parser.parse_args(arguments)
    settings = SourceSettings(given.manifests, bucket=environ.get("MINIO_BUCKET"))
    result = load_seeds(settings)
    return print_sources(result, as_json=given.json) or (0 if result.success_count else 1)


if __name__ == "__main__":
    run(main)
