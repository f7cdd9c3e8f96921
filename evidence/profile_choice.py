"""Which delivery profiles a command works with: the one that its user names, else those that the ledger has.

A user names one by an option, by LEDGER_PROFILE, or in the project's file; that is code, and is imported. What the
ledger has is data (`profile_data`).
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from operator import attrgetter
from pathlib import Path
from typing import Final

from run_evidence.evidence.profile import DeliveryProfile
from run_evidence.evidence.profile_history import (
    ProfileHistory,
    Profiles,
    declared_profiles,
    profiles_of,
    read_profiles,
)
from run_evidence.ledger import Ledger, LedgerError, ProjectSettings, Snapshot, UsageError, project_settings

VARIABLE: Final = "LEDGER_PROFILE"
GROUP: Final = "run_evidence.profiles"
"""Entry points of this group are profiles that an installed distribution declares."""

DECLARE: Final = (
    "declare one, with with_ledger(defs, profile=…) or ledger sync --profile, or name it with "
    f"--profile MODULE:ATTRIBUTE or {VARIABLE}; docs/delivery.md shows how"
)

_PLACE: Final = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)")


def find_profile(named: str | None = None, environment: Mapping[str, str] | None = None) -> DeliveryProfile | None:
    """Return the profile that `named` stands for, else LEDGER_PROFILE, else the project's file; `None` for none.

    `module:attribute` is imported, from the current folder (or that of the project's file) or from what is
    installed. Any other text is the name of an entry point of `GROUP`.

    Raises: UsageError when there is no such profile, it cannot be imported, or what is there is none.
    """
    text = named or (os.environ if environment is None else environment).get(VARIABLE)
    project = ProjectSettings() if text else project_settings()
    text = text or project.profile
    if not text:
        return None
    shown = text if named else f"{text} ({project.file or VARIABLE})"
    folder = project.file.parent if project.file else Path.cwd()
    found = _imported(text, shown, folder) if ":" in text else _installed(text, shown)
    if not isinstance(found, DeliveryProfile):
        raise UsageError(
            f"{shown} is no delivery profile: it is of type {type(found).__name__}.",
            next_step="name a run_evidence.evidence.DeliveryProfile; docs/delivery.md shows one",
        )
    return found


def find_profiles(ledger: Ledger, named: str | None = None, snapshot: Snapshot | None = None) -> Profiles:
    """Return the profile that somebody names (`find_profile`), alone; else every one that the ledger has.

    A `snapshot` of the ledger as it is now is asked, where one is open; another one costs some 50 ms.

    Raises: what `find_profile` raises; NotALedgerError.
    """
    if chosen := find_profile(named):
        return profiles_of(chosen)
    return declared_profiles(ledger) if snapshot is None else read_profiles(ledger, snapshot)


def one_profile(profiles: Profiles, product: str | None) -> ProfileHistory:
    """Return the one delivery that there is, of a product where one is named.

    Raises: UsageError when there is none, or several.
    """
    found = profiles.of_product(product) if product is not None else profiles
    if len(found.histories) == 1:
        return found.histories[0]
    there = ", ".join(f"{each.name} ({each.profiles[-1].product})" for each in profiles.histories)
    if not there:
        raise UsageError(
            "A hand-over needs a delivery profile: only that says what is delivered.", next_step=DECLARE
        )
    if found.histories:
        raise UsageError(f"There are several delivery profiles: {there}.", next_step="name one with --profile")
    raise UsageError(
        f"No delivery profile has the product {product}; there is {there}.",
        next_step="name the profile that delivers it with --profile",
    )


def documents_folder(history: ProfileHistory, environment: Mapping[str, str] | None = None) -> Path:
    """Return where a delivery's documents go when nobody says where; of a ledger's profile, below this folder."""
    named = history.latest if history.named else None
    return reports_folder(named, environment) if named else history.folder


def reports_folder(profile: DeliveryProfile, environment: Mapping[str, str] | None = None) -> Path:
    """Return where a delivery's documents go when nobody says where: its variable's folder, else its own."""
    values = os.environ if environment is None else environment
    named = values.get(profile.folder_variable) if profile.folder_variable else None
    return Path(named or profile.folder)


def _imported(text: str, shown: str, folder: Path) -> object:
    place = _PLACE.fullmatch(text)
    if place is None:
        raise UsageError(
            f"{shown} names no delivery profile: it is not MODULE:ATTRIBUTE.",
            next_step="name it as in --profile my_project.delivery:ORDERS",
        )
    module, attribute = place.groups()
    with _explained(shown, module), _first_on_path(str(folder)):
        loaded = importlib.import_module(module)
    try:
        return attrgetter(attribute)(loaded)
    except AttributeError:
        there = [name for name, value in vars(loaded).items() if isinstance(value, DeliveryProfile)]
        has = f"; its profiles: {', '.join(sorted(there))}" if there else ", and no delivery profile"
        raise UsageError(
            f"There is no delivery profile {shown}: the module has no {attribute}{has}.",
            next_step="name an attribute of the module that is a run_evidence.evidence.DeliveryProfile",
        ) from None


def _installed(name: str, shown: str) -> object:
    declared = entry_points(group=GROUP)
    places = {entry.value: entry for entry in declared if entry.name == name}
    if not places:
        known = f"those installed: {', '.join(sorted(declared.names))}" if declared else "none is installed"
        raise UsageError(
            f"There is no installed delivery profile {shown}; {known}.",
            next_step="one of your own project is named by its place: --profile MODULE:ATTRIBUTE",
        )
    if len(places) > 1:
        raise UsageError(
            f"Several installed delivery profiles are called {shown}: {', '.join(sorted(places))}.",
            next_step=f"name one by its place: --profile {min(places)}",
        )
    ((place, entry),) = places.items()
    with _explained(shown, place):
        return entry.load()


@contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    """Import from the project's folder too, which the installed command does not; only while this lasts."""
    sys.path.insert(0, folder)
    importlib.invalidate_caches()  # a module may have been written since the folder was read
    try:
        yield
    finally:
        with suppress(ValueError):  # the module may have changed the path itself
            sys.path.remove(folder)


@contextmanager
def _explained(shown: str, place: str) -> Iterator[None]:
    """Turn whatever an import raises into an error that names the profile: it is the project's code that runs."""
    module = place.partition(":")[0]
    try:
        yield
    except LedgerError:  # it says itself what is wrong with the profile
        raise
    except ModuleNotFoundError as error:
        if error.name is None or f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"There is no module {error.name or module} for the delivery profile {shown}.",
                next_step="run the command in the project's folder, or install the project",
            ) from None
        raise _broken(shown, module, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(shown, module, error) from error


def _broken(shown: str, module: str, error: BaseException) -> UsageError:
    return UsageError(
        f"The delivery profile {shown} cannot be loaded: {type(error).__name__}: {error}",
        next_step=f'python -c "import {module}", in the same folder, shows where',
    )
