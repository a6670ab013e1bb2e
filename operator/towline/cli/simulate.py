"""`towline simulate`: a vendor's API with made-up data on this machine, to try things without an account."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from towline.cli import completing
from towline.cli.errors import CliError
from towline.cli.output import print_json, program, say, table

if TYPE_CHECKING:
    from towline.api.connector import Connector

DEFAULT_PORT = 18080


@click.command()
@click.argument("name", required=False, shell_complete=completing.connectors)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"Left out, {DEFAULT_PORT} or, if that is taken, a free one."
)
@click.option("--seed", type=int, help="Another seed makes other data.")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="Volume or a fault. Repeatable.")
@click.option("--options", "list_options", is_flag=True, help="List the options of NAME and end.")
@click.option("--url", metavar="URL", help="Address that the manifests name, where it differs from --host and --port.")
@click.option(
    "--write", type=click.Path(), metavar="FILE", help="Write the manifests there instead of to standard output."
)
@click.option("--print-manifests", is_flag=True, help="Only print (or write) the manifests, without serving.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def simulate(
    name: str | None,
    host: str,
    port: int | None,
    seed: int | None,
    settings: tuple[str, ...],
    list_options: bool,
    url: str | None,
    write: str | None,
    print_manifests: bool,
    output: str,
) -> None:
    """Serve the API of NAME with made-up data, and print an Integration and a Secret that point at it.

    Without NAME, list what can be simulated. The data are always the same for the same options; faults such as
    rate limits, failing requests and expiring exports are switched on with --set (see --options).
    """
    from towline_connectors.catalogue import simulated

    if name is None:
        _list(simulated(), output)
        return
    if name not in simulated():
        raise _unknown(name, simulated())
    given = _given(settings, seed)
    options = _options(name, given)
    if list_options:
        _list_options(options, output)
        return
    chosen = _free_port(host, port)
    address = url or f"http://{'127.0.0.1' if host in ('0.0.0.0', '') else host}:{chosen}"  # noqa: S104 - compared
    text = _manifests(name, options, address)
    if print_manifests:
        _deliver(text, write)
        return
    _serve(name, host, chosen, given, text, write)


def _serve(name: str, host: str, port: int, given: dict[str, str], text: str, write: str | None) -> None:
    from towline_connectors.catalogue import serve

    def ready(url: str) -> None:
        say("►", f"{name} is simulated at {url}; Ctrl-C ends it.")
        _deliver(text, write)
        file = write or "simulated.yaml"
        start = "In another terminal" if write else f"Save the manifests as {file}, then in another terminal"
        say("►", f"{start}: {program()} run -f {file}")

    try:
        serve(name, host, port, given, ready)
    except OSError as error:
        raise CliError(
            f"Cannot listen on {host}:{port}: {error.strerror or type(error).__name__}.", "Choose another one: --port 0"
        ) from None
    say("✔", "The simulator has ended.")


def _deliver(text: str, write: str | None) -> None:
    if write is None:
        click.echo(text, nl=False)
        return
    try:
        Path(write).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"Cannot write {write}: {error.strerror or type(error).__name__}.") from None


def _list(names: list[str], output: str) -> None:
    from towline.cli.connectors import bundled, read

    paths = bundled()
    rows = [[name, read(paths[name]).spec.title] for name in names]
    if output == "json":
        print_json([{"name": name, "title": title} for name, title in rows])
        return
    click.echo(table(["name", "title"], rows))
    say("►", f"Serve one: {program()} simulate NAME")


def _unknown(name: str, known: list[str]) -> CliError:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.4)
    cure = [f"Did you mean {near[0]}?"] if near else []
    return CliError(f'There is no simulator of "{name}".', *cure, f"There are: {', '.join(known)}.")


def _given(settings: tuple[str, ...], seed: int | None) -> dict[str, str]:
    given = {} if seed is None else {"seed": str(seed)}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise click.UsageError(f'--set takes OPTION=VALUE; "{setting}" has no value.')
        given[key.replace("-", "_")] = value
    return given


def _options(name: str, given: dict[str, str]) -> Any:
    from towline_connectors.catalogue import simulating, simulators

    try:
        return simulating.parse(simulators()[name].Options, given)
    except ValueError as error:
        sentence = str(error)
        raise CliError(f"{sentence[:1].upper()}{sentence[1:]}.") from None


def _list_options(options: Any, output: str) -> None:
    rows = [[f.name.replace("_", "-"), type(f.default).__name__, f.default] for f in dataclasses.fields(options)]
    if output == "json":
        print_json([dict(zip(("option", "type", "default"), row, strict=True)) for row in rows])
    else:
        click.echo(table(["option", "type", "default"], rows))


def _free_port(host: str, wanted: int | None) -> int:
    if wanted:
        return wanted
    for candidate in (DEFAULT_PORT, 0) if wanted is None else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CliError(f"Cannot listen on {host}: it is not an address of this machine.")


def _manifests(name: str, options: Any, url: str) -> str:
    """A Secret and an Integration that point a connector at its simulator."""
    from towline.cli.connectors import load
    from towline.cli.examples import manifests, to_yaml

    connector = load(name)
    keys = [entry.key for entry in connector.spec.credentials or []]
    objects = manifests(
        connector,
        name=f"{name}-simulated",
        config=_config(connector, url),
        credentials={key: str(getattr(options, key)) for key in keys if hasattr(options, key)},
        allowed_hosts=urlsplit(url).netloc,
    )
    return to_yaml(objects)


def _config(connector: Connector, url: str) -> dict[str, Any]:
    """What has to be set, and what names the system: base_url and others in _url, host and scheme, or a url."""
    from towline.cli.examples import example_config

    properties = (connector.spec.config_schema or {}).get("properties") or {}
    needed = example_config(connector)
    if "base_url" in properties:
        return {**needed, **{key: url for key in properties if key.endswith("_url")}}
    parts = urlsplit(url)
    if "host" not in properties and "url" in properties:
        return {**needed, "url": f"{url}/report.json"}  # a simulator of reports serves one under that name
    return {**needed, "host": parts.netloc, "scheme": parts.scheme}
