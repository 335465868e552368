"""``--shard``, ``--cluster`` and ``--shards``: what of a stage's images or classes is worked on here, and what
elsewhere."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
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


def _shard(of: str) -> Callable[[F], F]:
    return click.option(
        "--shard",
        type=ShardOf(),
        metavar="I/N",
        help=(
            f"Work on the I-th of N shards of the {of} only, and write it beside -o FILE as FILE.shard-I-of-N; spp "
            "merge joins all N."
        ),
    )


def _shards(of: str, usual: str) -> Callable[[F], F]:
    return click.option(
        "--shards",
        type=click.IntRange(min=1),
        metavar="N",
        show_default=usual,
        help=f"With --cluster: number of shards that the {of} are divided into.",
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
    _shards("images", "8 for each worker"),
)


def spread(function: F) -> F:
    """The three options, as ``spread: Spread``. A shard asked for by a flag overrules the cluster of spp.toml."""
    return _spread(function, (_shard("images"), *CLUSTER))


def spread_classes(function: F) -> F:
    """As `spread`, of a training whose classes are divided."""
    return _spread(function, (_shard("classes"), CLUSTER[0], _shards("classes", "as many as workers")))


def _spread(function: F, options: Sequence[Callable[[F], F]]) -> F:
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
    for decorator in reversed(options):
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
        if self._is_here(options):
            return stage(output=self.output(output), shard=self.shard, options=options)
        from sppcli.runtime.remote import together

        def plan(workers: int) -> _Plan:
            images = ids()
            usual = max(1, min(len(images), _SHARDS_PER_WORKER * workers))
            return _Plan(usual, lambda shards: [len(shard.rows(images)) for shard in shards])

        return together(self._elsewhere(stage, output, options, plan, inputs), output)

    def run_classes(
        self,
        stage: Callable[..., Any],
        output: Path,
        options: RunOptions,
        *,
        extent: Callable[[], tuple[int, int]],
        inputs: Sequence[Path],
    ) -> Any:
        """As `run`, of a training whose shards have some of the classes each.

        Args:
            extent: how many classes there are, and how many images the training of any of them goes through; asked for
                only with a cluster.
        """
        if self._is_here(options):
            return stage(output=self.output(output), shard=self.shard, options=options)
        from sppcli.artefacts.output import WouldWork, only_asking
        from sppcli.runtime.progress import NoProgress
        from sppcli.runtime.remote import shards_folder

        quiet = replace(options, progress=NoProgress())
        with only_asking(), suppress(WouldWork):
            return stage(output=output, shard=None, options=quiet)

        def plan(workers: int) -> _Plan:
            classes, visits = extent()
            # Each goes through all images: more shards than workers would be more work.
            return _Plan(min(classes, workers), lambda shards: [visits] * len(shards), classes, visits)

        self._elsewhere(stage, output, options, plan, inputs)
        # Nothing leads to the shards, and what is up to date asks for none.
        shutil.rmtree(shards_folder(output), ignore_errors=True)
        return replace(stage(output=output, shard=None, options=replace(quiet, force=False)), up_to_date=False)

    def _is_here(self, options: RunOptions) -> bool:
        from sppcli.artefacts.output import is_asking

        return self.cluster is None or options.dry_run or is_asking()

    def _elsewhere(
        self,
        stage: Callable[..., Any],
        output: Path,
        options: RunOptions,
        plan: Callable[[int], _Plan],
        inputs: Sequence[Path],
    ) -> list[Any]:
        """Make the shards on the cluster and merge them; returns the summary of each. ``plan``: for so many workers."""
        from sppcli.runtime.cluster import connected
        from sppcli.runtime.locks import held
        from sppcli.runtime.progress import NoProgress
        from sppcli.runtime.remote import number_of_shards, run_shards, shards_folder
        from sppcli.runtime.shards import Shard
        from sppcli.stages import merge

        assert self.cluster
        folder = shards_folder(output)
        with held(folder, options), connected(self.cluster, options.progress) as engine:
            if options.force:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            planned = plan(engine.workers)
            count = number_of_shards(folder, self.shards, planned.usual)
            shards = Shard.all(min(count, planned.most or count))
            inside = folder / output.name
            # What is to be made again is gone by now; a shard that is tried again goes on from its parts.
            remote = replace(options, force=False, trackers=())
            sizes = planned.sizes(shards)
            summaries = run_shards(
                engine, stage, shards, inside, sizes=sizes, inputs=inputs, options=remote, visits=planned.visits
            )
            options.progress.note("merging")
            quiet = replace(options, progress=NoProgress())
            merge.run([shard.path(inside) for shard in shards], output, options=quiet)
        return summaries


@dataclass(frozen=True)
class _Plan:
    """How many shards there are as a rule and at ``most`` (0: any number), the ``sizes`` of shards in images, and
    ``visits``: see `remote.Work`."""

    usual: int
    sizes: Callable[[Sequence[Shard]], list[int]]
    most: int = 0
    visits: int = 0
