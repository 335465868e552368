"""``--shard``, ``--cluster`` and ``--shards``: what of a stage's images is worked on here, and what elsewhere."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from sppcli.cli.types import ShardOf
from sppcli.runtime.cpus import cpu_threads

if TYPE_CHECKING:
    from sppcli.runtime.options import RunOptions
    from sppcli.runtime.shards import Shard

F = TypeVar("F", bound=Callable[..., Any])

_SHARDS_PER_WORKER = 8
"""The last shards leave workers idle: with eight for each, for some sixteenth of the time."""

_SHARD = click.option(
    "--shard",
    type=ShardOf(),
    metavar="I/N",
    help=(
        "Work on the I-th of N shards of the images only, and write it beside -o FILE as FILE.shard-I-of-N; spp merge "
        "joins all N."
    ),
)
CLUSTER = (
    click.option(
        "--cluster",
        metavar="ADDRESS|FILE",
        help=(
            "Work on a Dask cluster: the address of its scheduler, or its scheduler file. Machines must share the file "
            "system. spp cluster shows how to start one."
        ),
    ),
    click.option(
        "--shards",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="8 for each worker",
        help="With --cluster: number of shards that the images are divided into.",
    ),
)


def spread(function: F) -> F:
    """The three options, as ``spread: Spread``. A shard asked for by a flag overrules the cluster of spp.toml."""
    from sppcli.cli.config import beats

    @functools.wraps(function)
    def command(*args: Any, shard: Shard | None, cluster: str | None, shards: int | None, **named: Any) -> Any:
        context = click.get_current_context()
        if beats(context, "shard", "cluster"):
            cluster = None
        if beats(context, "cluster", "shard"):
            shard = None
        if shard and cluster:
            raise click.UsageError("--shard works here and --cluster elsewhere: leave one of them out.")
        if shards and not cluster and by_flag("shards"):
            raise click.UsageError("--shards is an option of --cluster; one shard alone is made by --shard I/N.")
        return function(*args, spread=Spread(shard, cluster or None, shards), **named)

    wrapped: Any = command
    for decorator in reversed((_SHARD, *CLUSTER)):
        wrapped = decorator(wrapped)
    return wrapped  # type: ignore[no-any-return]  # the same, with options


def by_flag(*names: str) -> bool:
    """Whether one of these parameters was given on the command line, and not by spp.toml or the environment."""
    context = click.get_current_context()
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)


@dataclass(frozen=True)
class Spread:
    """What the options said."""

    shard: Shard | None = None
    cluster: str | None = None
    shards: int | None = None

    def __bool__(self) -> bool:
        return bool(self.shard or self.cluster)

    def jobs(self, given: int | None) -> int:
        """Number of processes: without ``-j`` all cores here, and one in each worker of a cluster."""
        return given or (1 if self.cluster else cpu_threads())

    def output(self, whole: Path) -> Path:
        """The file that is made where ``whole`` is asked for."""
        return self.shard.path(whole) if self.shard else whole

    def run(
        self,
        stage: Callable[..., Any],
        output: Path,
        options: RunOptions,
        *,
        ids: Callable[[], Sequence[str]],
        inputs: Sequence[Path],
    ) -> Any:
        """Run ``stage``, a function of ``output``, ``shard`` and ``options``, and return its summary.

        Args:
            ids: of all images, asked for only with a cluster.
            inputs: files that all machines must see alike.
        """
        from sppcli.artefacts.output import is_asking

        if self.cluster is None or options.dry_run or is_asking():
            return stage(output=self.output(output), shard=self.shard, options=options)
        from sppcli.runtime.cluster import connected
        from sppcli.runtime.locks import held
        from sppcli.runtime.progress import NoProgress
        from sppcli.runtime.remote import number_of_shards, run_shards, shards_folder, together
        from sppcli.runtime.shards import Shard
        from sppcli.stages import merge

        folder = shards_folder(output)
        with held(folder, options), connected(self.cluster, options.progress) as engine:
            if options.force:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            images = ids()
            usual = max(1, min(len(images), _SHARDS_PER_WORKER * engine.workers))
            shards = Shard.all(number_of_shards(folder, self.shards, usual))
            inside = folder / output.name
            # What is to be made again is gone by now; a shard that is tried again goes on from its parts.
            remote = replace(options, force=False)
            summaries = run_shards(engine, stage, shards, inside, ids=images, inputs=inputs, options=remote)
            options.progress.note("merging")
            quiet = replace(options, progress=NoProgress())
            merge.run([shard.path(inside) for shard in shards], output, options=quiet)
        return together(summaries, output)
