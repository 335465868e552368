"""What a command's options name by URL: brought here before it runs, and sent when it has ended well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from sppcli.cli.options import ASKING
from sppcli.cli.types import PathOrUrl
from sppcli.runtime.torchrun import is_started
from sppcli.runtime.urls import is_by_url

_MODEL_FILES = ("svm.h5", "bbox.h5", "calibration.h5")
_TOGETHER = ("finetune", "train-net", "train-detector")
_CURVES = (".csv", ".png")
"""Endings of what trainings write beside a network."""


@contextmanager
def at_hand(ctx: click.Context) -> Iterator[None]:
    """Inside, the files that stand for the URLs in the options of ``ctx`` are there; then its outputs are sent.

    Raises:
        click.UsageError: a URL that the command, or one of its other options, cannot have.
        SppError: see `url_transfer`.
    """
    from sppcli.cli import console
    from sppcli.runtime.url_transfer import session

    with session(console.progress):
        read, written = _named(ctx)
        if (read or written) and ctx.params.get("cluster"):
            raise click.UsageError("--cluster works on files that all machines share: give paths, or --shard and URLs.")
        if written and ctx.command.name in _TOGETHER and is_started():
            raise click.UsageError(
                "Processes that torchrun starts work on one output together: give -o a path, not a URL."
            )
        if read or written:
            _bring(ctx, read, written)
        yield
        if written and not _is_dry(ctx):
            _send(ctx, written)


def _named(ctx: click.Context) -> tuple[list[click.Parameter], list[click.Parameter]]:
    """The parameters with URLs that are read, and those that are written."""
    found: tuple[list[click.Parameter], list[click.Parameter]] = ([], [])
    for item in ctx.command.params:
        if isinstance(item.type, PathOrUrl) and any(map(is_by_url, _values(ctx, item))):
            found[item.type.role in ("write", "update")].append(item)
    return found


def _values(ctx: click.Context, item: click.Parameter) -> list[Path]:
    value: Any = ctx.params.get(item.name or "")
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [Path(one) for one in values]


def _bring(ctx: click.Context, read: list[click.Parameter], written: list[click.Parameter]) -> None:
    from sppcli.runtime import url_transfer

    for item in read:
        paths = []
        for path in _values(ctx, item):
            by_name = "*" in str(path) and is_by_url(path) and isinstance(ctx.params[str(item.name)], list | tuple)
            paths += url_transfer.matching(path) if by_name else [path]
        if isinstance(ctx.params[str(item.name)], list | tuple):
            ctx.params[str(item.name)] = tuple(paths)
        only = (*_MODEL_FILES, *(() if ctx.params.get("images") else ("features.h5",))) if item.name == "models" else ()
        for path in paths:
            url_transfer.at_hand(path, only)
    for item in written:
        trial = isinstance(item.type, PathOrUrl) and item.type.role == "write" and not _is_dry(ctx)
        for path in _outputs(ctx, item):
            url_transfer.prepare(path, trial, force=bool(ctx.params.get("force")))


def _send(ctx: click.Context, written: list[click.Parameter]) -> None:
    from sppcli.runtime import url_transfer

    for item in written:
        for path in _outputs(ctx, item):
            url_transfer.send(path)
            for ending in _CURVES if path.suffix == ".safetensors" else ():
                url_transfer.send(path.with_suffix(ending))


def _outputs(ctx: click.Context, item: click.Parameter) -> list[Path]:
    """The files that are made: of a shard its own."""
    shard = ctx.params.get("shard") if item.name == "output" else None
    return [shard.path(path) if shard else path for path in _values(ctx, item) if is_by_url(path)]


def _is_dry(ctx: click.Context) -> bool:
    """Whether nothing is to be made, but only said."""
    from sppcli.artefacts.output import is_asking

    return bool(ctx.params.get("dry_run") or ctx.meta.get(ASKING)) or is_asking()
