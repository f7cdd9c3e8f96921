"""Runs the benchmarks named on the command line, or all: `python -m benchmarks [core capture …]`.

Every other module of this package that has `run() -> Iterable[Row]` is one. The tables are Markdown, for
docs/performance.md.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks
from benchmarks.measure import machine

_NOT_BENCHMARKS = {"__main__", "measure"}


def main(asked: list[str]) -> None:
    """Run and print."""
    there = sorted({m.name for m in pkgutil.iter_modules(benchmarks.__path__)} - _NOT_BENCHMARKS)
    unknown = sorted(set(asked) - set(there))
    if unknown:
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(there)}.")
    print(f"Machine: {machine()}\n")
    for name in asked or there:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"### {name}\n\n| what | measured | ratio |\n|---|---|---|")
        for row in module.run():
            print(f"| {row.what} | {row.value} | {row.ratio} |", flush=True)
        print()


if __name__ == "__main__":
    main(sys.argv[1:])
