"""The command line: python -m tests.cluster up|down|status|kubeconfig|build|image|load."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import lifecycle
from tests.cluster.binaries import CONTROL_PLANE, KIND, NODE, build
from tests.cluster.choice import PROVIDERS
from tests.cluster.images import IMAGES, build_image, load_archive
from tests.cluster.record import Record, load, load_all
from tests.cluster.report import ClusterError, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 when not (the reason is on standard error), 130 when interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ClusterError as error:
        say(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        say("Interrupted. The same command goes on from here; `down` removes what was made.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster", description="A real Kubernetes for tests and the demo."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(run=run)
        return added

    def named(added: argparse.ArgumentParser) -> None:
        added.add_argument("--name", default=lifecycle.DEFAULT_NAME, help="the cluster (default: %(default)s)")

    added = command("up", _up, "Bring a cluster up, or repair it, and print its kubeconfig's path.")
    named(added)
    added.add_argument("--provider", default="auto", choices=("auto", *PROVIDERS))
    added.add_argument("--kubeconfig", help="use this existing cluster (also TOWLINE_KUBECONFIG)")
    added.add_argument("--wait", type=float, default=lifecycle.DEFAULT_WAIT, metavar="SECONDS",
                       help="how long a part may take to become ready (default: %(default).0f)")  # fmt: skip
    added.add_argument("--kind-node-image", metavar="IMAGE", help="kind's node image (also KIND_IMAGE)")
    named(command("down", _down, "Remove a cluster and all that it made."))
    added = command("status", _status, "Tell how a cluster's components are.")
    named(added)
    added.add_argument("--all", action="store_true", help="list every cluster")
    named(command("kubeconfig", _kubeconfig, "Print the path of a cluster's kubeconfig."))
    added = command("build", _build, "Build the programs of a cluster into the cache.")
    added.add_argument("what", nargs="?", default="node", choices=("node", "control-plane", "kind"))
    added = command("image", _image, "Build an image, put it into the cluster if it is up, and print its reference.")
    named(added)
    added.add_argument("image", nargs="?", default="towline", choices=sorted(IMAGES))
    added = command("load", _load, "Put an image archive (docker save) into the cluster.")
    named(added)
    added.add_argument("archive", type=Path)
    return parser


def _up(options: argparse.Namespace) -> int:
    cluster = lifecycle.up(options.name, options.provider, options.kubeconfig, options.wait, options.kind_node_image)
    if not cluster.runs_pods:
        say(f"{cluster.name} is a control plane without a node: objects and Jobs are real, pods stay pending.")
    say(f"{cluster.name} ({cluster.provider}) is up: export KUBECONFIG={cluster.kubeconfig}")
    print(cluster.kubeconfig)
    return 0


def _down(options: argparse.Namespace) -> int:
    say(f"{options.name} is removed" if lifecycle.down(options.name) else f"There is no cluster {options.name}")
    return 0


def _status(options: argparse.Namespace) -> int:
    if options.all:
        for each in load_all():
            healthy = lifecycle.is_healthy(lifecycle.status(each))
            print(f"{each.name:<30} {each.provider:<14} {'healthy' if healthy else 'not healthy'}")
        return 0
    record = _existing_record(options.name)
    states = lifecycle.status(record)
    for component, state in states.items():
        print(f"{component:<26} {state}")
    print(f"{'kubeconfig':<26} {record.kubeconfig}")
    return 0 if lifecycle.is_healthy(states) else 1


def _kubeconfig(options: argparse.Namespace) -> int:
    print(_existing_record(options.name).kubeconfig)
    return 0


def _build(options: argparse.Namespace) -> int:
    modules = {"node": NODE, "control-plane": CONTROL_PLANE, "kind": (KIND,)}[options.what]
    for program in build(modules).values():
        print(program)
    return 0


def _image(options: argparse.Namespace) -> int:
    record = load(options.name)
    if record is not None and record.provider == "control-plane":
        record = None
    print(build_image(IMAGES[options.image], record))
    return 0


def _load(options: argparse.Namespace) -> int:
    if not options.archive.is_file():
        raise ClusterError(f"There is no image archive at {options.archive}. Make one: docker save -o FILE IMAGE")
    load_archive(_existing_record(options.name), options.archive)
    return 0


def _existing_record(name: str) -> Record:
    record = load(name)
    if record is None or not record.kubeconfig.is_file():
        raise ClusterError(f"There is no cluster {name}. Bring it up: python -m tests.cluster up --name {name}")
    return record


if __name__ == "__main__":
    sys.exit(main())
