"""`make bench-peers`: the engine beside the frameworks that connectors are written with, alternating, medians.

`python -m tests.bench.peers [--records N] [--merged N] [--rounds N]`. Each framework has an environment of its own
below the cache folder, made at the first call. Prints `BENCH name value unit` lines beside what a person reads.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from tests.bench.engine import child, figure, serving

PEERS = {
    "airbyte_cdk": ("airbyte-cdk==7.39.1",),
    "singer_sdk": ("singer-sdk==0.54.9",),
    "dlt": ("dlt[duckdb]==1.31.0",),
}


def environment(name: str) -> str | None:
    """The Python of a framework's environment; None when it cannot be installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "towline"
    folder = cache / f"bench-{PEERS[name][0].replace('[', '-').replace(']', '')}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return str(python)
    print(f"  making an environment for {name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    quiet = ["--quiet", "--disable-pip-version-check"]
    steps = ([sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", *quiet, *PEERS[name]])
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            print(f"  {name} cannot be installed and is left out: {done.stderr.strip()[-300:]}", flush=True)
            return None
    (folder / "complete").touch()
    return str(python)


def peer(python: str, name: str, *arguments: str) -> float:
    """Run a framework's script; the seconds that it prints."""
    script = Path(__file__).with_name(f"peer_{name}.py")
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as folder:
        command = [python, str(script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        sys.exit(f"{script.name} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def compare(records: int, rounds: int, steps: dict[str, Callable[[str, str], float]]) -> None:
    """Let all do the same, one after another, `rounds` times."""
    rates: dict[str, list[float]] = defaultdict(list)
    with serving(records) as url:
        for turn in range(rounds):
            for name, step in steps.items():
                with tempfile.TemporaryDirectory(prefix="towline-bench-") as folder:
                    rates[name].append(records / step(url, folder))
                print(f"  round {turn + 1}: {name:26} {rates[name][-1]:10,.0f} records/s", flush=True)
    for name, found in rates.items():
        figure(f"{name}_records_per_second", statistics.median(found), "records/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000, help="records that are read only")
    parser.add_argument("--merged", type=int, default=200_000, help="records that are written too")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    pythons = {name: found for name in PEERS if (found := environment(name))}
    read, merged = str(options.records), str(options.merged)

    def reading(name: str) -> Callable[[str, str], float]:
        return lambda url, _folder: peer(pythons[name], name, url, read)

    steps = {"engine_read": lambda url, _folder: child("read", url, read)[0]}
    steps |= {f"{name}_read": reading(name) for name in ("airbyte_cdk", "singer_sdk") if name in pythons}
    compare(options.records, options.rounds, steps)
    steps = {"engine_duckdb_or_sqlite": lambda url, folder: child("sync", url, f"{folder}/e.db", merged)[0]}
    if "dlt" in pythons:
        steps["dlt_duckdb"] = lambda url, folder: peer(pythons["dlt"], "dlt", url, merged, folder)
    compare(options.merged, options.rounds, steps)


if __name__ == "__main__":
    main()
