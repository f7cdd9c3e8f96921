"""What attaching adds to a project: a hook on its assets, and sensors under names that are free there.

The same settings always give the same sensors, and the same asset the same hooked asset. Dagster tells what is
listed twice by identity, so parts of a project that were attached one by one can still be merged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import dagster as dg

from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.cursor_sensor import SENSOR_NAME, completing_sensor
from run_evidence.sensors.attach.failure_log import report_trouble
from run_evidence.sensors.attach.hook import HOOK_NAME, ledger_hook
from run_evidence.sensors.attach.status_sensors import STATUSES, nudge_sensor
from run_evidence.sensors.attach.verdict_sensor import VERDICT_SENSOR, verdict_sensor

if TYPE_CHECKING:
    from collections.abc import Hashable


@dataclass(slots=True)
class Addition:
    """What one `with_ledger` adds. `hook` is `None` where none is wanted."""

    attachment: Attachment
    hook: dg.HookDefinition | None
    status_sensors: bool
    show_verdicts: bool
    _sensors: dict[str, dg.SensorDefinition] = field(default_factory=dict)
    _hooked: WeakKeyDictionary[dg.AssetsDefinition, dg.AssetsDefinition] = field(default_factory=WeakKeyDictionary)

    def sensors(self, taken: Collection[str]) -> list[dg.SensorDefinition]:
        """Return the sensors, under names that no schedule or sensor in `taken` has."""
        wanted = {SENSOR_NAME: free_name(SENSOR_NAME, taken)}
        if self.status_sensors:
            wanted |= {name: free_name(name, taken) for name in STATUSES}
        if self.show_verdicts:
            wanted[VERDICT_SENSOR] = free_name(VERDICT_SENSOR, taken)
        making = {SENSOR_NAME: completing_sensor, VERDICT_SENSOR: verdict_sensor}
        for name, free in wanted.items():
            if free not in self._sensors:
                self._sensors[free] = making.get(name, nudge_sensor)(self.attachment, name, free)
        return [self._sensors[free] for free in wanted.values()]

    def owns(self, sensor: object) -> bool:
        """Tell whether this addition made the sensor."""
        return any(sensor is ours for ours in self._sensors.values())

    def hooked(self, assets: Iterable[Any]) -> list[Any]:
        """Give every asset that Dagster materializes the hook; what cannot carry one is passed through."""
        return [self._with_hook(asset) if _takes_hooks(asset) else asset for asset in assets]

    def _with_hook(self, asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
        if self.hook is None:
            return asset
        if asset not in self._hooked:
            try:
                self._hooked[asset] = asset.with_hooks({self.hook})
            except Exception as error:  # noqa: BLE001 - a class of the user's that cannot be copied still loads
                report_trouble(None, "with_ledger", "", f"no hook on {asset!r}, the sensors capture it: {error}")
                return asset
        return self._hooked[asset]


def _takes_hooks(asset: object) -> bool:
    return (
        isinstance(asset, dg.AssetsDefinition)
        and asset.is_materializable
        and not any(each.name == HOOK_NAME for each in asset.hook_defs)
    )


_ADDITIONS: Final[dict[Hashable, Addition]] = {}


def addition_of(
    settings: Hashable, attachment: Attachment, *, hook: bool, status_sensors: bool, show_verdicts: bool
) -> Addition:
    """Return what is added under these settings; the same settings give the same object in this process."""
    if settings not in _ADDITIONS:
        made = ledger_hook(attachment) if hook else None
        _ADDITIONS[settings] = Addition(attachment, made, status_sensors, show_verdicts)
    return _ADDITIONS[settings]


def found_among(sensors: Sequence[object]) -> Addition | None:
    """Return the addition that one of these sensors comes from, `None` when none is ours, whatever its name."""
    return next((each for each in _ADDITIONS.values() if any(each.owns(sensor) for sensor in sensors)), None)


def free_name(name: str, taken: Collection[str]) -> str:
    """Return the name itself, or the first of `name_2`, `name_3`, … that is free.

    A sensor's cursor is kept under its name, so the same project always gets the same one.
    """
    return next(each for each in _names(name) if each not in taken)


def _names(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name}_{number}"
