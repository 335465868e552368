"""``spp man``: the manual pages, shown, printed as roff, or installed where ``man`` finds them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from shutil import which

import click

from sppcli.cli import helpful, options


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    group = context.find_root().command
    names = group.list_commands(context) if isinstance(group, click.Group) else []
    return [name for name in names if name.startswith(incomplete)]


@helpful.command("man")
@click.argument("names", metavar="[COMMAND]", nargs=-1, shell_complete=_complete)
@click.option(
    "--install",
    type=options.LocalPath,
    metavar="FOLDER",
    help="Write the pages of all commands to FOLDER/man1, so that 'man spp-propose' shows one.",
)
@click.option("--roff", "as_roff", is_flag=True, help="Print the page in roff, the language that man reads.")
@options.overwrite
@options.verbosity
@click.pass_context
def command(
    context: click.Context, names: tuple[str, ...], install: Path | None, as_roff: bool, overwrite: bool
) -> None:
    """Show the manual page of a command, or install the pages of all.

    Without COMMAND it is the page of spp itself. A page says what --help-all says, and which files, environment
    variables and exit codes there are.

    man looks in ~/.local/share/man if ~/.local/bin is on the PATH; 'manpath' prints all its folders.
    """
    from sppcli.cli import console, man_pages

    if install and (names or as_roff):
        raise click.UsageError("--install writes the pages of all commands: leave out COMMAND and --roff.")
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    pages = {item.command_path: item for item in man_pages.contexts(root.command)}
    if install:
        _install({man_pages.page_name(item): man_pages.page(item) for item in pages.values()}, install, overwrite)
        console.echo(f"{len(pages)} pages in {install / 'man1'}; 'man spp-propose' shows one")
        return
    path = " ".join(["spp", *names])
    if path not in pages:
        root.command.resolve_command(root, list(names))  # which says what is near
        raise click.UsageError(f"spp {names[0]} has no command {' '.join(names[1:])!r}.")
    text = man_pages.page(pages[path])
    if as_roff:
        console.echo(text.removesuffix("\n"))
    else:
        _show(man_pages.page_name(pages[path]), text, path)


def _install(pages: dict[str, str], folder: Path, overwrite: bool) -> None:
    from sppcli.artefacts.overwriting import MANUAL, claim
    from sppcli.runtime.files import replacing

    place = folder / "man1"
    place.mkdir(parents=True, exist_ok=True)
    paths = {place / f"{name}.1": text for name, text in pages.items()}
    for path in paths:
        claim(path, MANUAL, overwrite=overwrite)
    for path, text in paths.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _show(name: str, text: str, command_path: str) -> None:
    """Let ``man`` show a page, with the pager that the user has."""
    from sppcli.cli import console
    from sppcli.errors import MissingInput

    instead = f"'{command_path} --help-all' says most of it, and 'spp man --roff' prints the page"
    program = which("man")
    if program is None:
        raise MissingInput(f"there is no program man on this machine; {instead}")
    console.end_waiting()
    with tempfile.TemporaryDirectory() as folder:
        # Every man takes a name with a slash for that of a file.
        path = Path(folder) / f"{name}.1"
        path.write_text(text, encoding="utf-8")
        with subprocess.Popen([program, str(path)]) as process:
            while True:
                try:
                    code = process.wait()
                    break
                except KeyboardInterrupt:
                    continue  # it is the pager's
    # A pager or a reader that ends early is no failure.
    if code and 0 < code < 128:
        raise MissingInput(f"{program} could not show the page (exit status {code}); {instead}")
