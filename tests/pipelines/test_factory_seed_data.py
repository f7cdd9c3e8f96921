"""The committed seed data is what its generator makes, and shows each thing it is there for."""

from __future__ import annotations

from pathlib import Path

from pipelines.ingestion.seed_loader import load_seeds
from pipelines.manifests import SourceSettings
from pipelines.seed_data import make_seed_data

DATA = Path(__file__).parents[2] / "data"


def test_making_the_seed_data_again_gives_the_same_bytes(tmp_path: Path) -> None:
    made = make_seed_data(tmp_path / "data")
    names = {path.relative_to(tmp_path / "data").as_posix() for path in made}
    assert names == {path.relative_to(DATA).as_posix() for path in DATA.rglob("*") if path.is_file()}
    for name in names:
        again = "the generator changed: python -m pipelines.seed_data"
        assert (tmp_path / "data" / name).read_bytes() == (DATA / name).read_bytes(), f"{name}: {again}"


def test_the_seed_sources_are_accepted_warned_about_and_quarantined() -> None:
    result = load_seeds(SourceSettings(DATA / "seed_manifests"))
    assert result.judgement_counts == {"accept": 4, "warn": 1, "quarantine": 1}
    assert (result.success_count, result.skip_count, result.fail_count) == (5, 1, 0)
    assert result.reason_codes == ["partial_metadata", "pii_gap"]
