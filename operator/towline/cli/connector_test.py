"""`towline connector test`: the conformance suite, for one connector or for all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from towline.cli import completing
from towline.cli.errors import FAILED, CliError
from towline.cli.output import print_json, say, table

if TYPE_CHECKING:
    from towline_connectors.kit.conformance.suite import Outcome

_MARKS = {"pass": "✔", "fail": "✗", "not applicable": " "}
_CELLS = {"pass": "pass", "fail": "FAIL", "not applicable": "-"}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.connectors_or_files)
@click.option("--all", "everything", is_flag=True, help="All bundled connectors; directories where slapd is installed.")
@click.option("--case", "only", multiple=True, metavar="CASE", help="Only this case. Repeatable.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Connectors at once.")
@click.option(
    "--write", type=click.Path(), metavar="FILE", help="Write the verdicts of several connectors there, as JSON."
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def test(
    names: tuple[str, ...], everything: bool, only: tuple[str, ...], jobs: int, write: str | None, output: str
) -> None:
    """Run connectors against their simulators with the faults that vendors, networks and nodes have.

    NAME is a bundled connector, or the path of a folder with connector.yaml and simulator.py. Directories are tested
    against a slapd. Waiting costs no time: clocks are moved on. Fails when a case fails.
    """
    from towline_connectors.kit.conformance import directory, suite

    for case in only:
        if case not in suite.names():
            raise CliError(f'There is no case "{case}".', f"There are: {', '.join(suite.names())}.")
    chosen = _all() if everything else list(names)
    if not chosen:
        raise click.UsageError("Say which connector: its name, its folder, or --all.")
    if len(chosen) == 1:
        outcomes = _one(chosen[0], only, quiet=output == "json")
        if output == "json":
            print_json([_shown(outcome) for outcome in outcomes])
        failed = sum(outcome.verdict == "fail" for outcome in outcomes)
    else:
        results = dict(zip(chosen, _many(chosen, only, jobs), strict=True))
        if output == "json":
            print_json(results)
        else:
            _table(results)
        if write is not None:
            verdicts = {name: {each["case"]: each["verdict"] for each in result} for name, result in results.items()}
            before = json.loads(Path(write).read_text("utf-8")) if Path(write).is_file() else {}
            if everything:  # directories keep theirs where there is no slapd
                before = {name: before[name] for name in directory.directories() if name in before}
            verdicts = dict(sorted({**before, **verdicts}.items()))
            Path(write).write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        failed = sum(each["verdict"] == "fail" for result in results.values() for each in result)
    if failed:
        say("✗", f"{failed} case{'s' if failed > 1 else ''} failed.")
        raise click.exceptions.Exit(FAILED)


def _all() -> list[str]:
    from towline_connectors.catalogue import simulated
    from towline_connectors.kit.conformance import directory

    return sorted([*simulated(), *(directory.directories() if directory.available() else [])])


def _one(name: str, only: Sequence[str], *, quiet: bool) -> list[Outcome]:
    from towline.cli.connector_files import find
    from towline.cli.connector_files import quiet as silence
    from towline.cli.connector_simulator import load
    from towline_connectors.kit.conformance import suite

    found = find(name)
    connector = found.connector()
    is_directory = connector.spec.ldap is not None and found.bundled
    simulated = None if is_directory else load(found, connector)
    silence()

    def tell(outcome: Outcome) -> None:
        if not quiet:
            why = f": {outcome.why}" if outcome.why else ""
            kind = "  not applicable" if outcome.verdict == "not applicable" else ""
            say(_MARKS[outcome.verdict], f"{outcome.case}{kind}{why}")

    begun = time.monotonic()
    if simulated is None:
        from towline_connectors.kit.conformance import directory

        if not directory.available():
            raise CliError(f"{connector.spec.title} is tested against slapd.", "Install it: apt install slapd")
        outcomes = directory.run(found.name, connector.spec, only=only, tell=tell)
    else:
        outcomes = suite.run(
            found.name,
            connector.spec,
            simulated.application,
            simulated.config,
            simulated.secrets,
            only=only,
            tell=tell,
        )
    if not quiet and all(outcome.verdict != "fail" for outcome in outcomes):
        passed = sum(outcome.verdict == "pass" for outcome in outcomes)
        say("✔", f"{found.name} passes all {passed} cases that apply, in {time.monotonic() - begun:.0f} s.")
    return outcomes


def _many(names: Sequence[str], only: Sequence[str], jobs: int) -> Iterator[list[dict[str, Any]]]:
    """A process for each connector, some at once: each forks, and must not have threads then."""
    cases = [part for case in only for part in ("--case", case)]

    def run(name: str) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "towline.cli.main", "connector", "test", name, "-o", "json", *cases]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
        try:
            found: list[dict[str, Any]] = json.loads(done.stdout)
        except ValueError:
            why = (done.stderr.strip().splitlines() or ["it ended without a result"])[0]
            found = [{"case": "reads", "verdict": "fail", "why": why, "seconds": 0.0}]
        for each in found:
            if each["verdict"] == "fail":
                say("✗", f"{name}: {each['case']}: {each['why']}")
        return found

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(run, names)


def _table(results: dict[str, list[dict[str, Any]]]) -> None:
    from towline_connectors.kit.conformance import suite

    cases = suite.names()
    rows = []
    for name, result in results.items():
        verdicts = {each["case"]: each["verdict"] for each in result}
        rows.append([name, *(_CELLS.get(verdicts.get(case, ""), "") for case in cases)])
    click.echo(table(["connector", *(str(number) for number in range(1, len(cases) + 1))], rows))
    click.echo("\n" + "\n".join(f"{number:>3}  {case}" for number, case in enumerate(cases, 1)))


def _shown(outcome: Outcome) -> dict[str, Any]:
    return {
        "case": outcome.case,
        "verdict": outcome.verdict,
        "why": outcome.why,
        "seconds": round(outcome.seconds, 2),
    }
