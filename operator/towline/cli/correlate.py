"""`towline correlate`: which assets of several sources are one."""

from __future__ import annotations

import click

from towline.cli.data import DEFAULT_TARGET
from towline.cli.errors import CliError
from towline.cli.output import program, say


@click.command()
@click.option(
    "--from",
    "target",
    default=DEFAULT_TARGET,
    show_default=True,
    envvar="TOWLINE_TO",
    type=click.Path(),
    metavar="FILE|URL",
    help="SQLite file or postgresql:// URL; also $TOWLINE_TO.",
)
@click.option("--undo", is_flag=True, help="Remove all links.")
@click.option("--apart", multiple=True, metavar="UID", help="Take this asset out for good. Repeatable.")
@click.option("--join", "joined", multiple=True, metavar="UID", help="Let an asset taken out be linked again.")
def correlate(target: str, undo: bool, apart: tuple[str, ...], joined: tuple[str, ...]) -> None:
    """Link assets that several sources show, by id in the cloud, serial number, agent, or MAC address with host name.

    Each sync that brings assets does it too. The view assets_correlated shows what was linked, and why.
    """
    from towline_connectors.sinks import correlation
    from towline_connectors.sinks.base import SinkError

    if sum(map(bool, (undo, apart, joined))) > 1:
        raise click.UsageError("--undo, --apart and --join go one at a time.")
    try:
        if undo:
            say("✔", f"{correlation.undo(target)} assets stand alone again; the next sync of assets links anew.")
        elif apart:
            say("✔", f"{correlation.undo(target, apart)} of {len(apart)} assets were linked and stand alone for good.")
        elif joined:
            say("✔", f"{correlation.join(target, joined)} of {len(joined)} assets may be linked again.")
        else:
            found = correlation.correlate_at(target)
            say("✔", f"{found.assets} assets of several sources are {found.identities} things.")
            say("►", f"Look at them: {program()} data assets_correlated")
    except SinkError as error:
        raise CliError(str(error)) from None
