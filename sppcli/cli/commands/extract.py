"""``spp extract``: proposals.h5 to features.h5."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import options
from sppcli.cli.options import of_recipe


@click.command("extract")
@options.proposals
@options.output("features.h5")
@options.recipe
@of_recipe("--scales", options.IntList(), "Lengths of the image's shorter side, in pixels.")
@options.network
@options.strict
@options.force
@options.dry_run
@options.as_json
@options.verbosity
def command(
    proposals: Path,
    output: Path,
    recipe: str,
    scales: tuple[int, ...] | None,
    backbone: str | None,
    weights: str,
    cut: str | None,
    reads: str | None,
    precision: str,
    device: str,
    strict: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compute the conv maps of each whole image, once a scale.

    They are the cache of the method: windows are pooled from them by every later stage.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.stages import extract

    scales = options.chosen(recipe, {"scales": scales})["scales"]
    config = extract.ExtractConfig(weights, backbone, cut, reads, scales, precision, device)
    with console.progress("extract") as progress:
        summary = extract.run(proposals, output, config, strict=strict, force=force, dry_run=dry_run, progress=progress)
    if as_json:
        console.print_json(asdict(summary))
    elif summary.dry_run:
        click.echo(f"would extract {summary.extracted:,} of {summary.images:,} images and write {output}")
    else:
        network = summary.network
        state = " (up to date)" if summary.up_to_date else ""
        skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
        click.echo(
            f"{output}: {summary.images:,} images at {len(summary.scales)} scales, "
            f"{network.backbone if network else ''}, {summary.stored_bytes / 1e6:,.0f} MB{skipped}{state}"
        )
