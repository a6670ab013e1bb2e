"""`towline completion`: the script by which a shell completes verbs and options."""

from __future__ import annotations

import click

from towline.cli.output import program

KUBECTL = """\
#!/usr/bin/env sh
# kubectl calls this file for `kubectl towline …`: save it as kubectl_complete-towline in a folder of PATH.
line="towline"
for word in "$@"; do last="$word"; line="$line $word"; done
COMP_WORDS="$line" COMP_CWORD=$# _TOWLINE_COMPLETE=bash_complete towline | while IFS=, read -r _ value; do
  printf '%s\\n' "$value"
done
echo ":4"
"""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "kubectl"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash     source <(towline completion bash)
    zsh      source <(towline completion zsh)
    fish     towline completion fish | source
    kubectl  towline completion kubectl > /usr/local/bin/kubectl_complete-towline; chmod +x it
    """
    from click.shell_completion import get_completion_class

    from towline.cli.main import cli

    if shell == "kubectl":
        click.echo(KUBECTL, nl=False)
        return
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(found(cli, {}, program().split()[0], "_TOWLINE_COMPLETE").source())
