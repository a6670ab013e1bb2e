"""`make demo` and `make demo-down`: python -m hack.demo up|down."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from hack.demo import integrations, show, systems, watch
from hack.demo.steps import DemoError, Steps, say
from hack.demo.target import Target, find_target, install, remove
from tests.cluster import lifecycle
from tests.cluster.choice import PROVIDERS
from tests.cluster.images import TOWLINE
from tests.cluster.report import ClusterError

NAMESPACE = "demo"
CLUSTER = "towline-demo"
DEFAULT_RECORDS = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 when not (the reason is on standard error), 130 when interrupted."""
    options = _parser().parse_args(arguments)
    steps = Steps()
    try:
        if options.command == "up":
            _up(options, steps)
        else:
            _down(options)
    except (DemoError, ClusterError) as error:
        say(f"\n✗ {error}")
        return 1
    except subprocess.TimeoutExpired as error:
        say(f"\n✗ {error.cmd[0]} did not answer within {error.timeout:.0f} s. Is the cluster still up?")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. `make demo` goes on from here; `make demo-down` removes what was made.")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hack.demo", description="Towline's demo on a real cluster.")
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--name", default=CLUSTER, help="the cluster (default: %(default)s)")
    parser.add_argument("--provider", default="auto", choices=("auto", *PROVIDERS))
    parser.add_argument(
        "--records",
        type=int,
        default=int(os.environ.get("DEMO_RECORDS", DEFAULT_RECORDS)),
        help="size of the simulated systems, in assets, incidents and people (also DEMO_RECORDS; default: %(default)s)",
    )
    parser.add_argument("--wait", type=float, default=600.0, help="seconds that the syncs may take")
    return parser


def _up(options: argparse.Namespace, steps: Steps) -> None:
    with steps.step("A Kubernetes cluster"):
        target = find_target(options.name, options.provider)
        say(f"  export KUBECONFIG={target.kubeconfig}")
    with steps.step("Towline's image"):
        image = target.image(TOWLINE)
        say(f"  {image}")
    with steps.step("Towline, by its chart"):
        install(target, image)
        say("  the operator is ready")
    with steps.step(f"Systems to connect, in namespace {NAMESPACE}"):
        changes = _systems(target, image, options.records)
    with steps.step("Integrations"):
        requests = integrations.apply(target, NAMESPACE, changes)
        watch.wait_for_syncs(target, NAMESPACE, requests, options.wait)
    with steps.step("What came of it"):
        parts = [
            show.objects(target, NAMESPACE),
            show.rows(target, NAMESPACE, image),
            show.metrics(target),
            show.next_steps(target, NAMESPACE, next(iter(requests))),
        ]
    print("\n".join(parts), flush=True)
    say(f"\nTime:\n{steps.summary()}")


def _systems(target: Target, image: str, records: int) -> list[integrations.Change]:
    target.namespace(NAMESPACE, **{"towline.dev/demo": "true"})
    tenable = systems.simulator(target, NAMESPACE, "tenable-io", image, {"assets": records})
    servicenow = systems.simulator(
        target, NAMESPACE, "servicenow", image, {"incidents": records, "computers": records, "users": records}
    )
    directory, reader = systems.directory(target, NAMESPACE, image, records)
    database = systems.postgresql(target, NAMESPACE)
    names = ("simulated-tenable-io", "simulated-servicenow", "directory", "postgresql")
    systems.wait_for(target, NAMESPACE, *names)
    say(f"  {', '.join(names)} are ready")
    return [
        integrations.Change(
            "02-tenable", {"base_url": f"http://{tenable}"},
            {"access_key": "simulator", "secret_key": "simulator"}, tenable,
        ),
        integrations.Change(
            "03-servicenow", {"host": servicenow, "scheme": "http"},
            {"username": "simulator", "password": "simulator"}, servicenow,
            {"destinationSecretRef": {"name": database}},
        ),
        integrations.Change(
            "04-active-directory", {"url": f"ldaps://{directory}"}, reader, directory,
            {"caBundleRef": {"kind": "ConfigMap", "name": systems.DIRECTORY_CA, "key": "ca.crt"}},
        ),
    ]  # fmt: skip


def _down(options: argparse.Namespace) -> None:
    if lifecycle.down(options.name):
        say(f"✔ The demo and its cluster {options.name} are removed.")
        return
    if not os.environ.get("TOWLINE_KUBECONFIG"):
        say(f"There is no demo: no cluster {options.name}.")
        return
    target = find_target(options.name)
    remove(target, NAMESPACE)


if __name__ == "__main__":
    sys.exit(main())
