"""A click group that imports a verb's module only when that verb is called.

`towline --help` and shell completion stay fast because the list of verbs, with a line of help each, is data.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import click

from towline.cli.output import program


@dataclass(frozen=True, slots=True)
class Verb:
    """`module` holds a click command under the verb's name."""

    name: str
    module: str
    help: str


class UnreadError(Exception):
    """Whoever reads our output, for instance `head`, has what it wanted."""


class LazyGroup(click.Group):
    def __init__(
        self,
        *args: Any,
        sections: tuple[tuple[str, tuple[Verb, ...]], ...] = (),
        closing: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections
        self.closing = closing
        self.verbs = {verb.name: verb for _, verbs in sections for verb in verbs}

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would make a failure of it
            raise UnreadError from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = self.verbs.get(cmd_name)
        if verb is None:
            return None
        command = getattr(importlib.import_module(verb.module), verb.name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{verb.module}.{verb.name} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            near = get_close_matches(args[0], self.verbs, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise click.UsageError(f'There is no command "{args[0]}".{hint}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.verbs)
        for title, verbs in self.sections:
            with formatter.section(title):
                formatter.write_dl([(verb.name.ljust(width), verb.help) for verb in verbs])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.closing:
            formatter.write("\n" + self.closing.replace("{program}", program()))


def no_path(name: str | None) -> None:
    """Raises click.UsageError where a manifest stands in a name's place: no name ends like a file, and only a path
    begins with a dot or a slash."""
    if name and (name == "-" or name.startswith((".", "/")) or name.endswith((".yaml", ".yml", ".json", "/"))):
        raise click.UsageError(f'"{name}" is a path and no name: give manifests with -f {name}.')
