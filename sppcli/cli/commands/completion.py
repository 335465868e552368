"""``spp completion``: the script that completes commands and options in a shell."""

from __future__ import annotations

import click

from sppcli.cli import helpful, options

SHELLS = ("bash", "zsh", "fish")


@helpful.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@options.verbosity
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and files in a shell.

    \b
    bash  spp completion bash >> ~/.bashrc
    zsh   spp completion zsh >> ~/.zshrc    (below the line with compinit)
    fish  spp completion fish > ~/.config/fish/completions/spp.fish

    It works in shells that are opened after that.
    """
    from click.shell_completion import get_completion_class

    from sppcli.cli import console

    found = get_completion_class(shell)
    assert found is not None
    console.echo(found(context.find_root().command, {}, "spp", "_SPP_COMPLETE").source())
