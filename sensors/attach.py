"""`with_ledger`: the one line a project adds.

Everything the project defines stays as it is: the same assets (with a hook more), checks, jobs, schedules,
resources. Added are three run-status sensors and the cursor sensor. Where a hook cannot go (op jobs, checks,
observable sources, external assets) the sensors cover it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg

from ledger import UsageError
from ledger.settings import open_ledger
from sensors.attached import Attachment
from sensors.capturing import DEFAULT_GRACE_SECONDS
from sensors.completer import SENSOR_NAME, completing_sensor
from sensors.hook import HOOK_NAME, ledger_hook
from sensors.nudges import nudge_sensors
from sensors.policy import OptionalDependency, Policy

_Defs = TypeVar("_Defs", bound=dg.Definitions | Callable[..., dg.Definitions])


def with_ledger(  # noqa: PLR0913 - the options of the one public call, all but the first by name
    defs: _Defs,
    *,
    ledger: str | Path | None = None,
    optional: Iterable[OptionalDependency] = (),
    hook: bool = True,
    status_sensors: bool = True,
    hook_timeout_seconds: float = 2.0,
    grace_seconds: float = DEFAULT_GRACE_SECONDS,
    tick_seconds: int = 30,
    release_id: str | None = None,
    log_lines: bool = False,
) -> _Defs:
    """Return the same definitions with capture attached; lazy ones (`@definitions`) stay lazy.

    `ledger` is an address as on the command line; without one the environment decides, as there. `optional`
    names assets a run may do without. A hook takes at most `hook_timeout_seconds` and then leaves the rest
    to the sensors; a run is closed `grace_seconds` after its end. `release_id` stands for runs without a tag
    of that name. `log_lines` keeps plain log lines too, which may hold secrets. Definitions that are wrapped
    already are returned as they are.

    Raises `UsageError` for an address that cannot be one, or an optional dependency without a reason code.
    """
    attachment = Attachment(
        open_ledger(ledger),
        Policy(tuple(optional)),
        hook_timeout_seconds=hook_timeout_seconds,
        grace_seconds=grace_seconds,
        tick_seconds=tick_seconds,
        release_id=release_id,
        log_lines=log_lines,
    )
    wrapped: Any
    if isinstance(defs, dg.Definitions):
        wrapped = _wrapped(defs, attachment, hook=hook, status_sensors=status_sensors)
    elif callable(defs):
        wrapped = _lazily(defs, attachment, hook=hook, status_sensors=status_sensors)
    else:
        raise UsageError(
            f"with_ledger takes Definitions, or a function that returns them, not {type(defs).__name__}.",
            next_step="defs = with_ledger(dg.Definitions(...))",
        )
    return wrapped  # type: ignore[no-any-return]


def _lazily(load: Any, attachment: Attachment, *, hook: bool, status_sensors: bool) -> Any:
    """Wrap what a lazy definition returns, and keep it what it is: Dagster finds it by its type."""
    load_fn = getattr(load, "load_fn", load)

    @wraps(load_fn)
    def loaded(*context: Any) -> dg.Definitions:
        return _wrapped(load_fn(*context), attachment, hook=hook, status_sensors=status_sensors)

    return loaded if load_fn is load else dg.definitions(loaded)


def _wrapped(defs: dg.Definitions, attachment: Attachment, *, hook: bool, status_sensors: bool) -> dg.Definitions:
    if any(getattr(sensor, "name", None) == SENSOR_NAME for sensor in defs.sensors or ()):
        return defs
    sensors: list[Any] = [*(defs.sensors or ()), completing_sensor(attachment)]
    if status_sensors:
        sensors.extend(nudge_sensors(attachment))
    hooks = {ledger_hook(attachment)} if hook else set()
    return dg.Definitions(
        assets=_with_hooks(defs.assets or (), hooks),
        schedules=defs.schedules,
        sensors=sensors,
        jobs=defs.jobs,
        resources=defs.resources,
        executor=defs.executor,
        loggers=defs.loggers,
        asset_checks=defs.asset_checks,
        metadata=dict(defs.metadata),
        component_tree=defs.component_tree,
    )


def _with_hooks(assets: Iterable[Any], hooks: set[dg.HookDefinition]) -> Sequence[Any]:
    """Give every executable asset the hook; what cannot carry one is passed through as it is."""
    return [
        asset.with_hooks(hooks)
        if hooks
        and isinstance(asset, dg.AssetsDefinition)
        and asset.is_materializable
        and not any(each.name == HOOK_NAME for each in asset.hook_defs)
        else asset
        for asset in assets
    ]
