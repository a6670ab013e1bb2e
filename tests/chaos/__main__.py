"""`make chaos`: faults against a real API server; a line `PROMISE n injected violations` for each promise."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.stage import Stage
from tests.chaos.trials import TRIALS
from tests.cluster import lifecycle
from tests.cluster.kubectl import kubectl

ROOT = Path(__file__).parents[2]
_NAME = "towline-chaos"


def main() -> int:
    """0 when no promise was broken."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats the faults of a run")
    parser.add_argument("--size", type=int, default=5, help="faults of each kind; 30 is an hour")
    parser.add_argument("--promise", type=int, action="append", choices=sorted(TRIALS), help="only these")
    options = parser.parse_args()
    named = os.environ.get("TOWLINE_KUBECONFIG")
    kubeconfig = Path(named) if named else lifecycle.up(_NAME, "control-plane").kubeconfig
    print(f"SEED {options.seed}", flush=True)
    try:
        kubectl(kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
        kubectl(kubeconfig, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        return 1 if sum(_one(kubeconfig, number, options) for number in options.promise or sorted(TRIALS)) else 0
    finally:
        if not named:
            lifecycle.down(_NAME)


def _one(kubeconfig: Path, number: int, options: argparse.Namespace) -> int:
    """Violations of one promise."""
    folder = Path(tempfile.mkdtemp(prefix="towline-chaos-"))
    began = time.monotonic()
    try:
        with Stage(kubeconfig, folder, options.seed) as stage:
            outcome = TRIALS[number](stage, random.Random(options.seed), options.size)
    except AssertionError as error:
        print(f"PROMISE {number} 0 1\n  {error}; the operators' logs are in {folder}", flush=True)
        return 1
    print(f"{outcome.line()}    # {outcome.about}, {time.monotonic() - began:.0f} s", flush=True)
    for violation in outcome.violations:
        print(f"  {violation}; the operators' logs are in {folder}", flush=True)
    return len(outcome.violations)


if __name__ == "__main__":
    sys.exit(main())
