"""What every room's tests share."""

from hypothesis import settings

# The machine is shared with other tests: how long one example takes says nothing about the rule it tries.
settings.register_profile("ledger", deadline=None)
settings.load_profile("ledger")
