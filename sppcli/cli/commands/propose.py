"""``spp propose``: images to proposals.h5."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TextIO

import click

from sppcli.cli import helpful, options
from sppcli.cli.spreading import Spread
from sppcli.cli.spreading import spread as spread_options
from sppcli.paper import DEFAULT
from sppcli.proposals.registry import METHODS
from sppcli.runtime.counts import count_of
from sppcli.runtime.urls import is_url, local_of, url_fault


@helpful.command("propose")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=options.FilePath)
@options.output("proposals.h5")
@click.option(
    "--method",
    "methods",
    type=click.Choice(list(METHODS)),
    multiple=True,
    show_default="selective-search; none with --import",
    help=(
        "Method that finds region proposals. Given twice, the proposals of both methods are united, without duplicates."
    ),
)
@click.option(
    "--mode",
    type=click.Choice(["fast", "quality", "single"]),
    default=DEFAULT.mode,
    help="Selective Search's mode: quality finds more region proposals than fast and takes three times as long.",
)
@click.option(
    "--edges",
    type=click.Choice(["gradient", "model"]),
    default=None,
    show_default="model",
    help=(
        "Edges that edge-boxes starts from: image gradients, which need no file, or the structured "
        "forest of --edge-model."
    ),
)
@click.option(
    "--edge-model",
    type=options.FilePath,
    metavar="FILE",
    help="Structured forest for edge-boxes in OpenCV's format: model.yml.gz of opencv_extra.",
)
@click.option(
    "--import",
    "imports",
    type=options.FilePath,
    multiple=True,
    metavar="FILE",
    help=(
        "Take the region proposals in FILE: Selective Search's .mat, a .csv or .jsonl, COCO's .json, or "
        "another proposals.h5. Given several times, or with --method, all are united, without "
        "duplicates."
    ),
)
@click.option(
    "--max-proposals",
    type=click.IntRange(min=1),
    default=DEFAULT.max_proposals,
    metavar="N",
    help=(
        "Largest number of region proposals per image from each method or imported file. From Selective "
        "Search they are drawn at random from all."
    ),
)
@click.option(
    "--max-side",
    type=click.IntRange(min=16),
    default=DEFAULT.max_side,
    metavar="PIXELS",
    help="Resize images whose longer side exceeds this before the search, and map the boxes back.",
)
@click.option(
    "--engine",
    type=click.Choice(["spp", "opencv"]),
    default="spp",
    help=(
        "Program that runs Selective Search. opencv finds the same boxes ten times slower; it is the "
        "reference to check against."
    ),
)
@click.option(
    "--split-seed",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Seed that divides a data set without splits into train, val and test, by the content of each image.",
)
@click.option(
    "--unlabelled",
    type=click.Choice(["skip", "empty"]),
    default=None,
    show_default="empty for YOLO, else skip",
    help="Leave images without annotation out of training and evaluation, or take them as images without objects.",
)
@options.seed
@options.jobs
@spread_options
@options.strict
@options.force
@options.dry_run
@options.as_json
@options.verbosity
def command(
    sources: tuple[Path, ...],
    output: Path,
    methods: tuple[str, ...],
    mode: str,
    edges: str | None,
    edge_model: Path | None,
    imports: tuple[Path, ...],
    max_proposals: int,
    max_side: int,
    engine: str,
    split_seed: int,
    unlabelled: Literal["skip", "empty"] | None,
    seed: int,
    jobs: int | None,
    spread: Spread,
    strict: bool,
    force: bool,
    wait: bool,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find region proposals: boxes that may hold an object.

    SOURCE is an annotated data set (a PASCAL VOC folder or devkit, COCO, YOLO, CSV or ILSVRC), a folder of images (with
    the folders in it), image files, the URL of any of these, or - for paths on standard input. The result does not
    depend on -j or on the order of the images.

    Imported .csv and .jsonl files hold boxes x0 y0 x1 y1 in 0-based half-open pixels; see docs/guide.md. A union takes
    its first N proposals from its sources in turn.
    """
    from dataclasses import asdict
    from functools import partial

    from sppcli.cli import chain, console
    from sppcli.datasets import open_dataset
    from sppcli.proposals.propose import ProposeConfig
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import propose

    chosen = tuple(dict.fromkeys(methods)) or (() if imports else ("selective-search",))
    model = _edge_model(edges, edge_model, "edge-boxes" in chosen)
    config = ProposeConfig(
        mode=mode,
        max_proposals=max_proposals,
        max_side=max_side,
        seed=seed,
        engine=engine,
        methods=chosen,
        edge_model=model,
    )
    with console.progress("propose") as progress:
        run = RunOptions(
            force=force,
            wait=wait,
            overwrite=overwrite,
            strict=strict,
            dry_run=dry_run,
            jobs=spread.jobs(jobs),
            progress=progress,
        )
        paths = expand(sources)
        stage = partial(
            propose.run, paths, config=config, imports=imports, split_seed=split_seed, unlabelled=unlabelled
        )
        summary = spread.run(
            stage,
            output,
            run,
            ids=lambda: [item.id for item in open_dataset(paths).images],
            inputs=[*imports, *([edge_model] if edge_model else [])],
        )
    if as_json:
        console.print_json(asdict(summary))
    elif summary.dry_run:
        console.echo(f"would search {summary.found:,} of {count_of(summary.images, 'image')} and write {summary.path}")
        if summary.found:
            chain.foretell(click.get_current_context(), summary.found / summary.images)
    else:
        each = summary.windows / max(1, summary.images)
        state = " (up to date)" if summary.up_to_date else ""
        skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
        console.echo(
            f"{summary.path}: {count_of(summary.images, 'image')}, {count_of(summary.windows, 'proposal')} "
            f"({each:,.0f} per image){skipped}{state}"
        )


def _edge_model(edges: str | None, model: Path | None, used: bool) -> str:
    """Where edge-boxes takes its edges from: a file, or "" for gradients."""
    from sppcli.cli.config import beats

    context = click.get_current_context()
    if not used:
        edges = None if beats(context, "methods", "edges") else edges
        model = None if beats(context, "methods", "edge_model") else model
    elif edges == "gradient" and model:
        edges = None if beats(context, "edge_model", "edges") else edges
        model = None if beats(context, "edges", "edge_model") else model
    if not used and (edges or model):
        raise click.UsageError("--edges and --edge-model are options of --method edge-boxes.")
    if edges == "gradient" and model:
        raise click.UsageError("--edges gradient needs no --edge-model: leave one of them out.")
    if used and edges != "gradient" and not model:
        from sppcli.errors import MissingInput
        from sppcli.proposals.edges import MODEL_SOURCE

        raise MissingInput(
            f"edge-boxes needs a structured-forest edge model: give --edge-model FILE (from {MODEL_SOURCE}), "
            "or take --edges gradient, which needs none"
        )
    return str(model) if model else ""


def lines_of(stream: TextIO) -> Iterator[Path]:
    """The paths in ``stream``, one per line, as they come; of a URL the file that stands for it."""
    lines = (line.rstrip("\r\n") for line in stream if line.strip())
    return (local_of(line) if is_url(line) and not url_fault(line) else Path(line) for line in lines)


def expand(sources: tuple[Path, ...]) -> list[Path]:
    """Replace ``-`` by the paths on standard input, one per line."""
    found: list[Path] = []
    for source in sources:
        if str(source) == "-":
            found.extend(lines_of(sys.stdin))
        else:
            found.append(source)
    if not found:
        from sppcli.errors import MissingInput

        raise MissingInput("no paths on standard input: give one image path per line")
    return found
