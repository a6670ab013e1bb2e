"""Entry point of the `towline` command: loads a verb only when it is asked for, and turns failures into sentences."""

from __future__ import annotations

import os
import sys

import click

from towline.cli.errors import CliError
from towline.cli.lazy import LazyGroup, UnreadError, Verb
from towline.cli.output import program, say, speak_unicode

VERBS: tuple[tuple[str, tuple[Verb, ...]], ...] = (
    (
        "Without a cluster",
        (
            Verb("run", "towline.cli.run", "Run a connector here, from manifests or by name."),
            Verb("simulate", "towline.cli.simulate", "Serve a vendor's API with made-up data, to try a connector."),
            Verb("data", "towline.cli.data", "Show what has been synced."),
            Verb("activity", "towline.cli.activity", "Show what happened: runs, checks, changes, and by whom."),
            Verb("correlate", "towline.cli.correlate", "Link the assets that several sources show."),
            Verb("test", "towline.cli.test", "Try an account, here or a cluster's: one call a stream."),
            Verb("validate", "towline.cli.validate", "Check manifests without a cluster."),
        ),
    ),
    (
        "Connectors",
        (
            Verb("catalog", "towline.cli.catalog", "List the bundled connectors."),
            Verb("explain", "towline.cli.explain", "Tell what a connector reads and needs, with an example."),
            Verb("new", "towline.cli.new", "Print an Integration and its Secret for your account."),
            Verb("connector", "towline.cli.connector", "Write connectors of your own and prove them."),
        ),
    ),
    (
        "On a cluster",
        (
            Verb("check", "towline.cli.check", "Tell whether cluster and installation are sound."),
            Verb("sync", "towline.cli.sync", "Sync an Integration now and follow it."),
            Verb("status", "towline.cli.status", "Tell how Integrations are doing and what to do."),
            Verb("why", "towline.cli.why", "Tell why an Integration is not ready, and what to do."),
            Verb("tree", "towline.cli.tree", "Show an Integration with all that hangs on it."),
            Verb("logs", "towline.cli.logs", "Print what a sync's pod wrote."),
            Verb("events", "towline.cli.events", "Show what happened."),
            Verb("cancel", "towline.cli.cancel", "Stop what an Integration runs now; what was committed stays."),
            Verb("suspend", "towline.cli.suspend", "Start no new syncs of an Integration."),
            Verb("resume", "towline.cli.suspend", "Let it sync on schedule again."),
            Verb("support", "towline.cli.support", "Write a bundle without secrets for who helps."),
            Verb("operator", "towline.cli.operator", "Run the operator (its Deployment does this)."),
        ),
    ),
    (
        "Other",
        (
            Verb("completion", "towline.cli.completion", "Print a shell's completion script."),
            Verb("version", "towline.cli.version", "Print the version."),
        ),
    ),
)

EPILOG = """\
Try first, without an account or a cluster:
  {program} run cisa-kev           a public feed into ./towline.db
  {program} simulate tenable-io    a vendor on this machine
"""


@click.group(
    cls=LazyGroup,
    sections=VERBS,
    closing=EPILOG,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="towline", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Connect a company's security and IT systems, on Kubernetes or right here."""
    if context.invoked_subcommand is None:
        from towline.cli.welcome import welcome

        click.echo(welcome())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Nobody ever sees a traceback unless TOWLINE_DEBUG=1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(_run(arguments))


def _command(arguments: list[str]) -> str:
    """The command that was typed, where click does not tell: without the value of an option it knows no context."""
    path, at = program(), click.Context(cli)
    for word in arguments:
        found = at.command.get_command(at, word) if isinstance(at.command, click.Group) else None
        if found is None:
            break
        path, at = f"{path} {word}", click.Context(found)
    return path


def _run(arguments: list[str]) -> int:
    debug = os.environ.get("TOWLINE_DEBUG", "") not in ("", "0")
    usage_code = _usage_code(arguments)
    speak_unicode()
    try:
        code = cli.main(args=arguments, prog_name=program(), standalone_mode=False)
        sys.stdout.flush()
    except CliError as error:
        if debug:
            raise
        say("✗", str(error))
        for line in error.cure:
            say(" ", line)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        # A group alone, as `towline connector`, is the question what there is.
        click.echo(error.message)
        return 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else _command(arguments)
        say("✗", " ".join(error.format_message().split()))
        say(" ", f"See: {command} --help")
        return usage_code
    except click.ClickException as error:
        say("✗", error.format_message())
        return 1
    except (KeyboardInterrupt, click.exceptions.Abort):
        say("✗", "Interrupted.")
        return 130
    except (UnreadError, BrokenPipeError):
        # Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        # The text of an unforeseen exception may quote a vendor's answer or a credential: only its type is shown.
        say("✗", f"This is a bug in Towline ({type(error).__name__}). The command was not finished.")
        say(" ", "Run it again with TOWLINE_DEBUG=1 for the details, and report them; remove secrets first.")
        return 70 if usage_code == 64 else 1
    return code if isinstance(code, int) else 0


def _usage_code(arguments: list[str]) -> int:
    """`run` ends with the exit codes of a connector run (64 is usage); all other verbs with 1."""
    verb = next((argument for argument in arguments if not argument.startswith("-")), "")
    return 64 if verb == "run" else 1


if __name__ == "__main__":
    main()
