"""``spp demo``: the whole method on data of its own, command by command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from sppcli.cli import helpful, options


@helpful.command("demo")
@click.argument("folder", default="spp-demo", type=options.LocalPath)
@click.option("--scenes", type=click.IntRange(min=8), default=200, metavar="N", help="Number of images to compose.")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=14,
    metavar="N",
    help="Number of epochs that the network is trained for.",
)
@click.option(
    "--crops",
    type=click.IntRange(min=1),
    default=4,
    metavar="N",
    help="Number of crops of each digit to train the network on.",
)
@options.seed
@options.verbosity
def command(folder: Path, scenes: int, epochs: int, crops: int, seed: int) -> None:
    """Show every stage at work on data that it makes itself.

    No data set, weights or network connection is needed. In FOLDER (made if needed), scenes of handwritten digits over
    photographs are composed as a PASCAL VOC data set, and a small SPP-net is trained at two input sizes. Then the
    commands that you would type yourself are printed and run, from propose to the table of average precisions and
    a contact sheet of detections. Run again, it goes on where it stopped.
    """
    import shlex

    from sppcli.cli import console
    from sppcli.cli.main import SUMMARIES
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import demo

    config = demo.DemoConfig(scenes=scenes, seed=seed, epochs=epochs, crops=crops)
    with console.progress("demo") as progress:
        summary = demo.run(folder, config, options=RunOptions(progress=progress))
    shares = ", ".join(f"{share:.1%} at {size} pixels" for size, share in summary.right.items())
    console.echo(f"{folder / demo.DATASET}: {scenes} scenes{'' if summary.composed else ' (there already)'}")
    state = "" if summary.trained else " (there already)"
    console.echo(f"{folder / demo.NETWORK}: {shares} of unseen crops right{state}")
    console.echo(f"$ cd {shlex.quote(str(folder))}")
    for step in demo.COMMANDS:
        console.echo(f"\n# {SUMMARIES[step[0]]}\n$ spp {shlex.join(step)}")
        sys.stdout.flush()
        code = run_spp([*step, *_verbosity()], folder)
        if code:
            console.warn(f"spp {step[0]} failed, so the demonstration stops here; run it again to go on")
            raise click.exceptions.Exit(code)
    console.echo()
    rows = [(name, files, f"{size / 1e6:,.2f} MB") for name, files, size in demo.made(folder)]
    console.table((f"in {folder}", "files", "size"), rows)
    console.section(
        "next",
        [
            f"{folder / 'detections.png'}    look at it: detections over the ground truth",
            "spp init photos/    the same with labelled photographs of yours",
        ],
        apart=True,
    )


def run_spp(arguments: list[str], folder: Path) -> int:
    """Run ``spp`` in ``folder`` with this very installation, its output going where ours goes; its exit code."""
    import subprocess

    environment = dict(os.environ)
    package = str(Path(__file__).resolve().parents[3])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "sppcli", *arguments], cwd=folder, env=environment, check=False
    ).returncode


def _verbosity() -> list[str]:
    from sppcli.cli import console

    return {-1: ["-q"], 1: ["-v"]}.get(console.level(), [])
