"""Every option that takes a path says whether a URL may stand there."""

from __future__ import annotations

import click
import pytest

from sppcli.cli.main import COMMANDS, spp
from sppcli.cli.types import PathOrUrl

WRITTEN = {"output", "plot", "destination"}
NO_FILES = {"--cluster", "--video"}
"""An address of another kind; ``--video`` has its own."""


def parameters(command: click.Command) -> list[tuple[str, click.Parameter]]:
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return [*((str(command.name), item) for item in command.params), *(row for one in inner for row in parameters(one))]


@pytest.mark.parametrize("name", COMMANDS)
def test_paths_of(name: str) -> None:
    command = spp.get_command(click.Context(spp), name)
    assert command is not None
    for owner, item in parameters(command):
        shown = f"{owner} {item.opts[-1]}"
        if isinstance(item.type, click.Path):
            assert isinstance(item.type, PathOrUrl), shown
            assert (item.type.role in ("write", "here")) == (item.name in WRITTEN or item.type.role == "here"), shown
        elif isinstance(item, click.Option) and "FILE" in (item.metavar or "") and item.opts[-1] not in NO_FILES:
            raise AssertionError(f"{shown} takes a file: its type is cli.types.PathOrUrl")
