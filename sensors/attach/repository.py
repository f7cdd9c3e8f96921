"""A `@repository` with sensors added: everything else comes from the repository's own data.

Its jobs are built around its assets already, so no hook is added to these; the sensors capture every run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import dagster as dg


class DataWithSensors(dg.RepositoryData):
    """A repository's data as it was, and some sensors more."""

    def __init__(self, data: dg.RepositoryData, sensors: Sequence[dg.SensorDefinition]) -> None:
        self._data = data
        self._added = {sensor.name: sensor for sensor in sensors}
        for name in _ASKED_OF_IT:
            if hasattr(data, name):
                setattr(self, name, getattr(data, name))

    def get_all_jobs(self) -> Sequence[dg.JobDefinition]:
        """Return the repository's jobs."""
        return self._data.get_all_jobs()

    def get_top_level_resources(self) -> Any:
        """Return the repository's resources."""
        return self._data.get_top_level_resources()

    def get_env_vars_by_top_level_resource(self) -> Any:
        """Return which environment variables its resources use."""
        return self._data.get_env_vars_by_top_level_resource()

    def get_all_sensors(self) -> Sequence[dg.SensorDefinition]:
        """Return the repository's sensors and those added."""
        return [*self._data.get_all_sensors(), *self._added.values()]

    def get_sensor_names(self) -> Sequence[str]:
        """Return their names, building none of the repository's."""
        return [*self._data.get_sensor_names(), *self._added]

    def get_sensor(self, sensor_name: str) -> dg.SensorDefinition:
        """Return the sensor of this name."""
        return self._added.get(sensor_name) or self._data.get_sensor(sensor_name)

    def has_sensor(self, sensor_name: str) -> bool:
        """Tell whether there is a sensor of this name."""
        return sensor_name in self._added or self._data.has_sensor(sensor_name)


_ASKED_OF_IT = (
    *("get_job", "get_job_names", "has_job"),
    *("get_schedule", "get_schedule_names", "has_schedule", "get_all_schedules"),
    *("get_source_assets_by_key", "get_assets_defs_by_key", "get_asset_checks_defs_by_key"),
    *("get_component_tree", "get_asset_job_nodes"),
)
"""What Dagster asks besides, passed on as it is."""


def with_sensors(
    repository: dg.RepositoryDefinition, sensors: Callable[[Collection[str]], Sequence[dg.SensorDefinition]]
) -> dg.RepositoryDefinition:
    """Return the repository with sensors more; `sensors` gives them, from the names that are taken."""
    data = repository._repository_data
    taken = {*data.get_sensor_names(), *data.get_schedule_names()}
    return dg.RepositoryDefinition(
        repository.name,
        repository_data=DataWithSensors(data, sensors(taken)),
        description=repository.description,
        metadata=repository.metadata,
        repository_load_data=repository.repository_load_data,
    )
