"""``spp cluster``: recipes for a Dask cluster of one's own."""

from __future__ import annotations

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import PathOrUrl

_LOCAL = """\
# On this computer: a scheduler, and {workers} worker processes that share its cores.
{dask} scheduler --host 127.0.0.1 --scheduler-file {file} &
{dask} worker --scheduler-file {file} --nworkers {workers} --nthreads 1 &
spp propose VOC --cluster {file}
"""

_SSH = """\
# On computers that are reached by ssh and share this folder. The scheduler runs here; on each HOST, {workers} workers.
{dask} scheduler --scheduler-file "$PWD/{file}" &
for host in {hosts}; do
    ssh "$host" "cd '$PWD' && {dask} worker --scheduler-file '$PWD/{file}' --nworkers {workers} --nthreads 1" &
done
spp propose VOC --cluster {file}
"""

_SLURM = """\
# Slurm, through dask-jobqueue (pip install dask-jobqueue). Run it where jobs are submitted, and leave it running.
from dask_jobqueue import SLURMCluster

cluster = SLURMCluster(
    cores=1,
    processes=1,
    memory="{memory}",
    walltime="04:00:00",
    worker_extra_args=["--lifetime", "3h50m", "--lifetime-stagger", "5m"],
    scheduler_options={{"scheduler_file": "{file}"}},
)
cluster.scale({workers})
input("spp propose VOC --cluster {file} works now, from another terminal. Enter ends the cluster: ")
"""

_RECIPES = {"local": _LOCAL, "ssh": _SSH, "slurm": _SLURM}


@helpful.command("cluster")
@click.argument("kind", type=click.Choice(list(_RECIPES)), metavar="local|ssh|slurm")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=4,
    metavar="N",
    help="Number of worker processes; for ssh on each host, for slurm in all.",
)
@click.option(
    "--host", "hosts", multiple=True, metavar="NAME", help="For ssh: a computer to work on. May be given several times."
)
@click.option("--memory", default="8GB", metavar="SIZE", help="For slurm: memory of each worker.")
@click.option(
    "--file",
    type=PathOrUrl("here", text=True),
    default="scheduler.json",
    metavar="FILE",
    help="The scheduler file to write, which --cluster then reads.",
)
@options.verbosity
def command(kind: str, workers: int, hosts: tuple[str, ...], memory: str, file: str) -> None:
    """Print how to start a Dask cluster for --cluster.

    The recipe is a script for bash (slurm: for Python) to copy and change. All machines need this version of spp with
    its extra dask, and a file system that they share. Each worker has one thread, and works on one shard at a time.
    """
    from sppcli.cli import console

    if hosts and kind != "ssh":
        raise click.UsageError(f"--host names computers for ssh, and {kind} needs none.")
    names = " ".join(hosts) if hosts else "HOST1 HOST2"
    text = _RECIPES[kind].format(workers=workers, hosts=names, memory=memory, file=file, dask="dask")
    console.echo(text.rstrip())
