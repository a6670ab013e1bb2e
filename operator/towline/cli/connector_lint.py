"""`towline connector lint`: everything that is wrong with a connector, with its line and its cure."""

from __future__ import annotations

import click

from towline.cli import completing
from towline.cli.errors import FAILED, CliError
from towline.cli.output import print_json, say


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing.connectors_or_files)
@click.option("--errors-only", is_flag=True, help="Only what keeps it from running, not what its users miss.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def lint(names: tuple[str, ...], errors_only: bool, output: str) -> None:
    """Check connectors: the manifest, and what belongs to it.

    NAME is a bundled connector, a folder with connector.yaml, or a manifest. Each problem is told with file, line,
    place and cure. Fails when there is one.
    """
    found = {name: _problems(name, errors_only) for name in names}
    total = sum(len(problems) for problems in found.values())
    if output == "json":
        print_json(found)
    else:
        for name, problems in found.items():
            for problem in problems:
                say("✗", problem)
            if not problems:
                say("✔", f"{name} is good.")
    if total:
        say("✗", f"{total} problem{'s' if total > 1 else ''}.")
        raise click.exceptions.Exit(FAILED)


def _problems(name: str, errors_only: bool) -> list[str]:
    from towline.api.connector import Connector
    from towline.cli.checking import check
    from towline.cli.connector_files import MANIFEST, find
    from towline.cli.lines import located
    from towline_connectors.kit.lint import style

    found = find(name)
    try:
        document = found.document()
    except CliError as error:
        return [str(error), *error.cure]
    problems = [problem for finding in check([document]) for problem in finding.problems]
    if problems or errors_only:
        return problems
    connector = Connector.model_validate(document.data)
    folder = found.folder if found.path.name == MANIFEST else None
    sentences = style(str(connector.metadata.get("name")), connector.spec, folder)
    at = {"README.md", "simulator.py"}
    return [
        f"{found.path.parent / sentence}" if sentence.partition(":")[0] in at else located(document, [sentence])[0]
        for sentence in sentences
    ]
