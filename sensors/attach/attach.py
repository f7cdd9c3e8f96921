"""`with_ledger`: the one line a project adds.

Everything the project defines stays as it is: the same assets (with a hook more), checks, jobs, schedules,
resources. Added are three run-status sensors, the cursor sensor, and one that shows verdicts. Where a hook
cannot go (op jobs, checks, observable sources, external assets) the sensors cover it. A name of ours that the
project uses already is left to it: our sensor gets the next free one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg

from run_evidence.evidence.profile import DeliveryProfile
from run_evidence.ledger import UsageError, open_ledger
from run_evidence.sensors.attach.addition import Addition, addition_of, found_among
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.cursor_sensor import SENSOR_NAME
from run_evidence.sensors.attach.repository import with_sensors
from run_evidence.sensors.capture.context import DEFAULT_GRACE_SECONDS
from run_evidence.sensors.capture.policy import OptionalDependency, Policy
from run_evidence.sensors.capture.policy_file import checked, read_policy

_LOADED = (dg.Definitions, dg.RepositoryDefinition)
_Loaded = dg.Definitions | dg.RepositoryDefinition
_Defs = TypeVar("_Defs", bound=_Loaded | Callable[..., _Loaded])


def with_ledger(  # noqa: PLR0913 - the options of the one public call, all but the first by name
    defs: _Defs,
    *,
    ledger: str | Path | None = None,
    optional: Iterable[OptionalDependency] | None = None,
    policy: str | Path | None = None,
    profile: DeliveryProfile | Iterable[DeliveryProfile] = (),
    hook: bool = True,
    status_sensors: bool = True,
    show_verdicts: bool = True,
    hook_timeout_seconds: float = 2.0,
    grace_seconds: float = DEFAULT_GRACE_SECONDS,
    tick_seconds: int = 30,
    release_id: str | None = None,
    log_lines: bool = False,
) -> _Defs:
    """Return the same definitions with capture attached; lazy ones (`@definitions`) stay lazy.

    `ledger` is an address as on the command line; without one the environment decides, as there. `optional` names
    assets a run may do without, or `policy` a file that does (`capture.policy_file`); without either the policy
    declared last in the ledger holds. `profile` is what the project hands over, one or several: it is recorded,
    so that whoever has the ledger needs no code of the project. A hook takes at most `hook_timeout_seconds` and
    then leaves the rest to the sensors; a run is closed `grace_seconds` after its end. `release_id` stands for
    runs without a tag of that name. `show_verdicts` tags each run, once it is closed, with its verdict; nothing
    else changes on it. `log_lines` keeps plain log lines too, which may hold secrets. Definitions
    that are wrapped already keep the settings they were wrapped with. A `@repository` gets the sensors and no
    hook.

    Raises `UsageError` for an address that cannot be one, an optional dependency without a reason code, or what
    is no delivery profile; `InputError` or `EnvironmentFault` for a policy file that is not one or is not there.
    """
    declared = _policy(optional, policy)
    address = open_ledger(ledger)
    options = (hook_timeout_seconds, grace_seconds, tick_seconds, release_id, log_lines, _profiles(profile))
    addition = addition_of(
        (address.root, address.signing_setup, declared, hook, status_sensors, show_verdicts, *options),
        Attachment(address, declared, *options),
        hook=hook,
        status_sensors=status_sensors,
        show_verdicts=show_verdicts,
    )
    wrapped: Any = _attached(defs, addition) if isinstance(defs, _LOADED) else _lazily(defs, addition)
    return wrapped  # type: ignore[no-any-return]


def _policy(optional: Iterable[OptionalDependency] | None, file: str | Path | None) -> Policy | None:
    if optional is not None and file is not None:
        raise UsageError(
            "with_ledger takes optional= or policy=, not both.", next_step="move all of it to the file"
        )
    if file is not None:
        return read_policy(Path(file))
    return None if optional is None else checked("optional", optional)


def _profiles(given: DeliveryProfile | Iterable[DeliveryProfile]) -> tuple[DeliveryProfile, ...]:
    profiles = (given,) if isinstance(given, DeliveryProfile) else tuple(given)
    names = [each.name if isinstance(each, DeliveryProfile) else None for each in profiles]
    if None in names or len(set(names)) < len(names):
        raise UsageError(
            "with_ledger takes delivery profiles in profile=, each of another name.",
            next_step="profile=ORDERS, or profile=[ORDERS, RETURNS]; docs/delivery.md",
        )
    return profiles


def _attached(defs: object, addition: Addition, where: str = "with_ledger takes") -> Any:
    """Attach to definitions that are there. Raises `UsageError` for anything else."""
    if isinstance(defs, dg.Definitions):
        return _wrapped(defs, addition)
    if isinstance(defs, dg.RepositoryDefinition):
        names = defs._repository_data.get_sensor_names()
        ours = found_among([defs.get_sensor_def(name) for name in names if name.startswith(SENSOR_NAME)])
        return defs if ours else with_sensors(defs, addition.sensors)
    raise UsageError(
        f"{where} Definitions, a repository, or a function that returns one of them, not {type(defs).__name__}.",
        next_step="defs = with_ledger(dg.Definitions(...))",
    )


def _lazily(load: Any, addition: Addition) -> Any:
    """Wrap what a lazy definition returns, and keep it what it is: Dagster finds it by its type."""
    load_fn = getattr(load, "load_fn", load)
    if isinstance(load, type) or not callable(load_fn) or _is_definition(load_fn):
        return _attached(load, addition)

    @wraps(load_fn)
    def loaded(*context: Any) -> Any:
        name = getattr(load_fn, "__name__", "the function")
        return _attached(load_fn(*context), addition, f"{name}() is attached to the ledger and has to return")

    return loaded if load_fn is load else dg.definitions(loaded)


def _is_definition(value: object) -> bool:
    """Tell a definition of Dagster's, many of which can be called, from a function of the user's."""
    return type(value).__module__.split(".")[0].startswith("dagster")


def _wrapped(defs: dg.Definitions, addition: Addition) -> dg.Definitions:
    """Attach to definitions; those attached before keep what they have, and what was merged in gets the hook."""
    sensors, schedules, assets = list(defs.sensors or ()), list(defs.schedules or ()), list(defs.assets or ())
    before = found_among(sensors)
    hooked = (before or addition).hooked(assets)
    if before and all(new is old for new, old in zip(hooked, assets, strict=True)):
        return defs
    taken = {each.name for each in (*sensors, *schedules)}
    return dg.Definitions(
        assets=hooked,
        schedules=schedules,
        sensors=sensors if before else [*sensors, *addition.sensors(taken)],
        jobs=defs.jobs,
        resources=defs.resources,
        executor=defs.executor,
        loggers=defs.loggers,
        asset_checks=defs.asset_checks,
        metadata=dict(defs.metadata),
        component_tree=defs.component_tree,
    )
