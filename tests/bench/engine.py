"""`make bench`: the engine's data path beside the plain script, alternating, medians; and memory by volume.

`python -m tests.bench.engine [--records N] [--rounds N] [--large N] [--no-postgresql]`. Prints `BENCH name value
unit` lines beside what a person reads.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import orjson
from tests.memory import Watch
from tests.postgres import Postgresql, find_binaries, install, serve


@contextlib.contextmanager
def serving(records: int) -> Iterator[str]:
    """The workload's server in a process of its own; its URL."""
    command = [sys.executable, "-m", "tests.bench.vulns", str(records)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


def child(module: str, *arguments: str, python: str = sys.executable) -> tuple[float, float]:
    """Run a module of this package; the seconds that it prints, and the peak of its memory in MiB."""
    command, pipe = [python, "-m", f"tests.bench.{module}", *arguments], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process, Watch(process) as memory:
        told, errors = process.communicate()
    if process.returncode:
        sys.exit(f"tests.bench.{module} failed:\n{errors}")
    return float(told), memory.peak


def parse(url: str) -> float:
    """Seconds to download and parse all pages."""
    begun = time.perf_counter()
    with httpx.Client() as client:
        offset = 0
        while found := orjson.loads(client.get(f"{url}/vulns?offset={offset}&limit=1000").content)["items"]:
            offset += len(found)
    return time.perf_counter() - begun


def figure(name: str, value: float, unit: str) -> None:
    print(f"BENCH {name} {value:.1f} {unit}", flush=True)


def speed(records: int, rounds: int, postgresql: Postgresql | None) -> None:
    rates: dict[str, list[float]] = defaultdict(list)
    with serving(records) as url, tempfile.TemporaryDirectory(prefix="towline-bench-") as folder:
        for turn in range(rounds):
            steps: dict[str, Callable[[], float]] = {
                "engine_sqlite": lambda t=turn: child("sync", url, f"{folder}/e{t}.db", str(records))[0],  # type: ignore[misc]
                "script_sqlite": lambda t=turn: child("script", url, f"{folder}/s{t}.db")[0],  # type: ignore[misc]
            }
            if postgresql is not None:
                for module, arguments in (("sync", [str(records)]), ("script", [])):
                    target = [url, postgresql.new_database(), *arguments]
                    name = f"{'engine' if module == 'sync' else 'script'}_postgresql"
                    steps[name] = lambda m=module, t=target: child(m, *t)[0]  # type: ignore[misc]
            steps["parse"] = lambda: parse(url)
            for name, step in steps.items():
                rates[name].append(records / step())
                print(f"  round {turn + 1}: {name:18} {rates[name][-1]:10,.0f} records/s", flush=True)
            for file in Path(folder).iterdir():
                file.unlink()
    for name, found in rates.items():
        figure(f"{name}_records_per_second", statistics.median(found), "records/s")


def memory(name: str, records: int) -> None:
    with serving(records) as url, tempfile.TemporaryDirectory(prefix="towline-bench-") as folder:
        figure(name, child("sync", url, f"{folder}/m.db", str(records))[1], "MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=2_000_000, help="records of the run that shows memory at volume")
    parser.add_argument("--no-postgresql", action="store_true")
    options = parser.parse_args()
    binaries = None if options.no_postgresql else find_binaries() or install()
    with contextlib.ExitStack() as stack:
        postgresql = stack.enter_context(serve(binaries)) if binaries else None
        speed(options.records, options.rounds, postgresql)
    memory("engine_peak_rss_20k_mib", 20_000)
    memory("engine_peak_rss_2m_mib", options.large)


if __name__ == "__main__":
    main()
