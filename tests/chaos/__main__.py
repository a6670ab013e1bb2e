"""`make chaos`: faults against a real API server; a line `PROMISE n injected violations` for each promise."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from tests.chaos.outcome import SkippedError
from tests.chaos.stage import Stage
from tests.chaos.trials import TRIALS
from tests.cluster import choice, fixtures, lifecycle
from tests.cluster.kubectl import kubectl

ROOT = Path(__file__).parents[2]
# One that is left behind is swept away by the next run of tests.
_NAME = f"{fixtures.PREFIX}-chaos-{os.getpid()}"


def main() -> int:
    """0 when no promise was broken."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats the faults of a run")
    parser.add_argument("--size", type=int, default=5, help="faults of each kind; 30 is an hour")
    parser.add_argument("--no-node", action="store_true", help="leave out what needs a real node, and so root")
    parser.add_argument("--promise", type=int, action="append", choices=sorted(TRIALS), help="only these")
    options = parser.parse_args()
    named = os.environ.get("TOWLINE_KUBECONFIG")
    fixtures.sweep_abandoned()
    kubeconfig = Path(named) if named else lifecycle.up(_NAME, "control-plane").kubeconfig
    print(f"SEED {options.seed}", flush=True)
    try:
        kubectl(kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
        kubectl(kubeconfig, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        violations = sum(_one(kubeconfig, number, options) for number in options.promise or sorted(TRIALS))
    finally:
        if not named:
            lifecycle.down(_NAME)
    if 9 in (options.promise or TRIALS) and not options.no_node:
        violations += _on_a_node()
    return 1 if violations else 0


def _on_a_node() -> int:
    """Violations of promise 9 on a real node: real kubelet, real containers, Towline installed by its chart."""
    machine = choice.look_at_machine()
    if not (machine.linux and machine.root):
        print("# promise 9 on a real node: skipped, that needs Linux and root", flush=True)
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="towline-chaos-node-") as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "tests/node/test_node_faults.py", f"--junitxml={report}"]
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "TOWLINE_SLOW_TESTS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        suite = ElementTree.parse(report).getroot()[0] if report.exists() else ElementTree.Element("testsuite")
    tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0)) + (0 if tests else 1)
    about = "pod evicted, out of memory, node drained, kubelet stopped, on a real node"
    print(f"PROMISE 9 {tests - skipped} {failed}    # {about}, {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(ran.stdout[-4000:], ran.stderr[-2000:], flush=True)
    return failed


def _one(kubeconfig: Path, number: int, options: argparse.Namespace) -> int:
    """Violations of one promise."""
    folder = Path(tempfile.mkdtemp(prefix="towline-chaos-"))
    began = time.monotonic()
    try:
        with Stage(kubeconfig, folder, options.seed) as stage:
            outcome = TRIALS[number](stage, random.Random(options.seed), options.size)
    except SkippedError as error:
        print(f"PROMISE {number} 0 0    # skipped: {error}", flush=True)
        return 0
    except AssertionError as error:
        print(f"PROMISE {number} 0 1\n  {error}; the operators' logs are in {folder}", flush=True)
        return 1
    print(f"{outcome.line()}    # {outcome.about}, {time.monotonic() - began:.0f} s", flush=True)
    for violation in outcome.violations:
        print(f"  {violation}; the operators' logs are in {folder}", flush=True)
    return len(outcome.violations)


if __name__ == "__main__":
    sys.exit(main())
