"""``spp check``: what is in a data set, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sppcli.cli import helpful, options
from sppcli.paper import DEFAULT
from sppcli.runtime.cpus import cpu_threads

if TYPE_CHECKING:
    from sppcli.stages.check import CheckSummary


@helpful.command("check")
@click.argument("source", metavar="DATA", type=options.FilePath)
@click.option("--plot", type=options.OutputPath, metavar="FILE.png", help="Also draw counts and sizes, as a PNG.")
@click.option(
    "--quick",
    is_flag=True,
    help="Do not decode images. Damage behind the header and equal pixels in files of other bytes are not found.",
)
@click.option(
    "--min-examples",
    type=click.IntRange(min=1),
    default=10,
    metavar="N",
    help="Report classes with fewer objects to train on.",
)
@click.option(
    "--max-side",
    type=click.IntRange(min=16),
    default=DEFAULT.max_side,
    metavar="PIXELS",
    help="Value of --max-side of spp propose. It decides which objects are too small.",
)
@options.overwrite
@click.option("--strict", is_flag=True, help="End with exit code 3 if anything is wrong.")
@options.jobs
@options.as_json
@options.verbosity
def command(
    source: Path,
    plot: Path | None,
    quick: bool,
    min_examples: int,
    max_side: int,
    overwrite: bool,
    strict: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Report what a data set holds and what is wrong with it.

    DATA is whatever spp propose takes: a folder of images with or without annotations, or a file of annotations. The
    report counts the objects of each class and split and says how large images and objects are. Then it lists what
    is wrong:

    \b
    - images that are damaged, missing or of another size;
    - boxes outside their image, empty, or turned round;
    - objects annotated twice, or too small to be found;
    - class names that differ only by case or blanks;
    - images that occur twice, above all in train and test;
    - classes that a split lacks, or with few examples.

    Nothing is changed. Three findings of each kind are shown; -v shows all of them, and --json names their files.
    Boxes are x0 y0 x1 y1, 0-based and half-open, whatever the format.
    """
    from sppcli.cli import console
    from sppcli.errors import BadInput
    from sppcli.stages import check

    config = check.CheckConfig(quick=quick, min_examples=min_examples, max_side=max_side)
    with console.progress("check") as progress:
        summary = check.run(
            source, config, jobs=jobs or cpu_threads(), plot=plot, overwrite=overwrite, progress=progress
        )
    if as_json:
        console.print_json(_as_json(summary))
    else:
        from sppcli.report.check_text import sections

        shown = None if console.level() > 0 else 3
        title = f"{source}: {summary.title}"
        note = "no splits of its own: train, val and test are drawn by content" if summary.divided else ""
        plain = not console.has_blocks()
        report = sections(title, summary.stats, summary.findings, note=note, shown=shown, plain=plain)
        for number, (heading, lines) in enumerate(report):
            console.section(heading, lines, apart=number > 0)
        if plot:
            console.say(f"check: plots are in {plot}")
    if strict and summary.findings:
        raise BadInput(
            f"{source}: there is something wrong ({len(summary.findings):,} times, see above); mend it, or leave "
            "--strict out"
        )


def _as_json(summary: CheckSummary) -> dict[str, Any]:
    from sppcli.datasets.statistics import QUANTILES

    stats = summary.stats
    return {
        "source": summary.source,
        "format": summary.kind,
        "images": stats.images,
        "annotated": stats.annotated,
        "without_objects": stats.empty,
        "objects": stats.objects,
        "splits": stats.splits,
        "divided_by_content": summary.divided,
        "classes": stats.classes,
        "image_sizes": [
            {"width": width, "height": height, "images": count} for (width, height), count in stats.image_sizes
        ],
        "percentiles": {
            name: dict(zip(map(str, QUANTILES), spread, strict=True)) for name, spread in stats.spreads.items()
        },
        "object_sides": [{"from": least, "to": most, "objects": count} for least, most, count in stats.histogram()],
        "least_area": summary.least_area,
        "wrong": summary.counts,
        "findings": summary.findings,
    }
