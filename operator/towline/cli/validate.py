"""`towline validate`: checks manifests as far as that is possible without a cluster."""

from __future__ import annotations

import click

from towline.cli import options
from towline.cli.output import print_json, program, say


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[FILE]...")
@options.files("File, folder or - (standard input). Repeatable.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def validate(paths: tuple[str, ...], files: tuple[str, ...], output: str) -> None:
    """Check Integrations, Connectors and SyncJobs without a cluster, and say which field is wrong and why.

    An Integration is checked against its connector (bundled, or among the files), and its Secret where that stands
    among the files.
    """
    from towline.cli.checking import check
    from towline.cli.errors import FAILED
    from towline.cli.manifests import read_all

    given = [*files, *paths]
    if not given:
        raise click.UsageError("Say which manifests: -f FILE, -f FOLDER, or -f - for standard input.")
    documents = read_all(given)
    findings = check(documents)
    problems = sum(len(finding.problems) for finding in findings)
    if output == "json":
        print_json(
            [
                {
                    "source": finding.document.source,
                    "kind": finding.document.kind,
                    "namespace": finding.document.namespace or None,
                    "name": finding.document.name,
                    "valid": not finding.problems,
                    "problems": finding.problems,
                    "notes": finding.notes,
                }
                for finding in findings
            ]
        )
    else:
        for finding in findings:
            title = f"{finding.document.kind} {finding.document.name or '(without a name)'}"
            if not finding.problems:
                say("✔", f"{title} is valid  ({finding.document.source})")
            for problem in finding.problems:
                say("✗", f"{title}: {problem}")
            for note in finding.notes:
                say(" ", note)
    ignored = [document for document in documents if not document.known]
    if ignored:
        kinds = ", ".join(sorted({document.kind for document in ignored}))
        say(" ", f"{len(ignored)} other object{'s' if len(ignored) > 1 else ''} not looked at: {kinds}.")
    if not findings:
        say("!", "There was no Integration, Connector or SyncJob to check.")
    if any(finding.document.kind == "Integration" for finding in findings):
        say(" ", "The API server has a few rules more: kubectl apply --dry-run=server -f FILE checks those too.")
    if problems:
        say("✗", f"{problems} problem{'s' if problems > 1 else ''}.")
        raise click.exceptions.Exit(FAILED)
    if output == "text" and "-" not in given and any(finding.document.kind == "Integration" for finding in findings):
        say("►", f"Try it without a cluster: {program()} run -f {given[0]}")
