"""What every room's tests share."""

import pytest
from hypothesis import settings

# The machine is shared with other tests: how long one example takes says nothing about the rule it tries.
settings.register_profile("ledger", deadline=None)
settings.load_profile("ledger")


@pytest.fixture(autouse=True)
def _own_memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a memory of what was verified that is its own: many ledgers here have the same name."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
