"""``spp config``: the values of options in this folder, and where each comes from."""

from __future__ import annotations

from dataclasses import asdict

import click

from sppcli.cli import helpful, options


@helpful.command("config")
@click.argument("commands", nargs=-1, metavar="[COMMAND]...")
@click.option("--all", "everything", is_flag=True, help="Show options that have their default value too.")
@options.as_json
@options.verbosity
@click.pass_context
def command(context: click.Context, commands: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Show the options set in this folder, and where each value comes from.

    A flag wins over the environment (SPP_EXTRACT_SCALES for --scales of spp extract), the environment over spp.toml in
    the current folder, and spp.toml over the default. The values shown are those of a command without flags.
    """
    from sppcli.cli import config, console

    group = context.find_root().command
    assert isinstance(group, click.Group)
    known = group.list_commands(context)
    for name in commands:
        if name not in known:
            raise click.UsageError(f"No such command {name!r}. The commands are {', '.join(known)}.")
    found = [
        item
        for item in config.settings(group, context.find_root().default_map or {})
        if (everything or not item.is_default) and (not commands or item.command.split()[0] in commands)
    ]
    if as_json:
        console.print_json({"settings": [asdict(item) for item in found]})
    elif not found:
        console.echo("every option has its default value; 'spp config --all' lists them, 'spp init' sets some")
    else:
        rows = [(item.command, item.option, _shown(item.value), _origin(item)) for item in found]
        console.table(("command", "option", "value", "from"), rows)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _origin(item: object) -> str:
    from sppcli.cli.config import Setting

    assert isinstance(item, Setting)
    return f"{item.source} (over {', '.join(item.beaten)})" if item.beaten else item.source
