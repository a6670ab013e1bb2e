"""`towline connector`: the tools of who writes a connector."""

from __future__ import annotations

import click

from towline.cli.lazy import LazyGroup, Verb

VERBS: tuple[tuple[str, tuple[Verb, ...]], ...] = (
    (
        "Write",
        (
            Verb("new", "towline.cli.connector_new", "Make the folder of a new connector."),
            Verb("lint", "towline.cli.connector_lint", "Check a manifest and what belongs to it, line by line."),
            Verb("schema", "towline.cli.connector_schema", "Print the JSON schema that editors complete and check by."),
            Verb("docs", "towline.cli.connector_docs", "Make a connector's page from its manifest."),
        ),
    ),
    (
        "Prove",
        (
            Verb("replay", "towline.cli.connector_replay", "Run it against recorded traffic (HAR)."),
            Verb("test", "towline.cli.connector_test", "Run the conformance suite against its simulator."),
        ),
    ),
)


@click.group(cls=LazyGroup, sections=VERBS)
def connector() -> None:
    """Write connectors and prove them. docs/tutorial.md leads from a vendor's API page to a running one."""
