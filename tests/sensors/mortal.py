"""Jobs whose processes die, are cancelled or outlive their run. Each waits for files in the folder $STAGE.

Run as a program, it executes one of them: `python mortal.py JOB`.
"""

import os
import signal
import sys
import time
from pathlib import Path

import dagster as dg

_MOST_SECONDS = 600.0


def folder() -> Path:
    """Return where the test and the run leave signs for each other."""
    return Path(os.environ["STAGE"])


def wait_for(path: Path, seconds: float = _MOST_SECONDS) -> None:
    """Return when the file is there. Raises `TimeoutError`."""
    give_up = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{path.name} did not appear within {seconds} s")
        time.sleep(0.02)


@dg.asset
def first() -> None: ...


@dg.asset(deps=[first])
def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dg.asset(deps=[killed])
def after_killed() -> None: ...


@dg.asset(deps=[first])
def outliving() -> None:
    (folder() / "started").write_text(str(os.getpid()))
    wait_for(folder() / "go")


@dg.asset(deps=[outliving])
def after_outliving() -> None: ...


@dg.asset(deps=[first])
def waiting() -> None:
    (folder() / "started").touch()
    wait_for(folder() / "never")


@dg.asset(deps=[waiting])
def after_waiting() -> None: ...


@dg.asset(deps=[first])
def mended() -> None:
    if not (folder() / "mended").exists():
        raise ValueError("not mended yet")


@dg.asset(deps=[mended])
def after_mended() -> None: ...


def _job(name: str, *assets: dg.AssetsDefinition, executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    job = dg.define_asset_job(name, selection=dg.AssetSelection.assets(*(asset.key for asset in assets)))
    return dg.Definitions(assets=assets, jobs=[job], executor=executor).resolve_job_def(name)


def killed_step() -> dg.JobDefinition:
    """Make a job one step of which is killed in its own process."""
    return _job("killed_step", first, killed, after_killed, executor=dg.multiprocess_executor)


def killed_worker() -> dg.JobDefinition:
    """Make a job whose step goes on after its run worker was killed."""
    return _job("killed_worker", first, outliving, after_outliving, executor=dg.multiprocess_executor)


def cancelled() -> dg.JobDefinition:
    """Make a job that runs until it is cancelled."""
    return _job("cancelled", first, waiting, after_waiting, executor=dg.in_process_executor)


def mendable() -> dg.JobDefinition:
    """Make a job that fails until it is mended."""
    return _job("mendable", first, mended, after_mended, executor=dg.in_process_executor)


if __name__ == "__main__":
    with dg.DagsterInstance.get() as at_home:
        jobs = {"killed_step": killed_step, "killed_worker": killed_worker, "cancelled": cancelled}
        job = dg.reconstructable(jobs[sys.argv[1]])
        dg.execute_job(job, instance=at_home, raise_on_error=False)
