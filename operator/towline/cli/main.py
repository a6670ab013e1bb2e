"""Entry point of the `towline` command."""

import click


@click.group()
def main() -> None:
    """Connect security and IT systems from Kubernetes."""
