"""``spp init``: a data set to spp.toml."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sppcli.cli import helpful, options
from sppcli.cli.presets import PRESETS
from sppcli.runtime.cpus import cpu_threads

if TYPE_CHECKING:
    from sppcli.cli.proposal import Proposal
    from sppcli.stages.check import CheckSummary

_COSTLY = ("similar-classes", "misspelt-class")
"""What is wrong with data that costs more than any option gains, and is soon mended."""


@helpful.command("init")
@click.argument("source", metavar="DATA", type=options.FilePath)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    show_default="what suits the data and this machine",
    help="; ".join(f"{item.name}: {item.text}" for item in PRESETS.values()) + ".",
)
@click.option("--backbone", metavar="NAME", show_default="the preset's", help="Backbone of the detector.")
@click.option(
    "--weights",
    type=options.Weights,
    metavar="imagenet|FILE",
    show_default="imagenet",
    help="Weights of the backbone: imagenet, or a .safetensors or PyTorch file.",
)
@click.option(
    "--split-seed",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Seed that divides a data set without splits into train, val and test.",
)
@click.option("--force", is_flag=True, help="Replace an spp.toml that is there.")
@options.jobs
@options.verbosity
@click.pass_context
def command(
    context: click.Context,
    source: Path,
    preset: str | None,
    backbone: str | None,
    weights: str | None,
    split_seed: int,
    force: bool,
    jobs: int | None,
) -> None:
    """Look at a data set and write spp.toml: how to make a detector from it.

    DATA is whatever spp propose takes, with annotations. A preset is chosen by the number of images and objects, and by
    the cores and the memory of this machine. The file holds each option that differs from its default, with a comment.
    Go on with spp run, which makes the detector.
    """
    from sppcli.cli import config, console
    from sppcli.cli.proposal import propose_settings
    from sppcli.cli.settings_file import written
    from sppcli.errors import BadInput
    from sppcli.runtime.files import replacing
    from sppcli.runtime.urls import with_urls
    from sppcli.stages import check

    if config.FILE.exists() and not force:
        raise BadInput(f"{config.FILE} is there already; go on with spp run, or give --force to replace it")
    with console.progress("init") as progress:
        summary = check.run(source, check.CheckConfig(quick=True), jobs=jobs or cpu_threads(), progress=progress)
    chosen = propose_settings(summary, preset, backbone, weights, split_seed)
    group = context.find_root().command
    assert isinstance(group, click.Group)
    text = with_urls(written(group, chosen.sections, chosen.head, chosen.remarks))
    with replacing(config.FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    config.read_file(group)
    _say(summary, chosen)


def _say(summary: CheckSummary, chosen: Proposal) -> None:
    from sppcli.cli import console
    from sppcli.runtime.counts import count_of

    stats = summary.stats
    classes = ", ".join(f"{name} {count.objects:,}" for name, count in list(stats.classes.items())[:8])
    more = f" and {len(stats.classes) - 8} more" if len(stats.classes) > 8 else ""
    rows = [
        ("data", f"{summary.title}, {count_of(stats.images, 'image')}, {count_of(stats.objects, 'object')}"),
        ("classes", f"{classes}{more}"),
        ("splits", chosen.splits),
        ("machine", chosen.machine),
        ("preset", f"{chosen.preset.name}: {chosen.preset.text}"),
        ("because", chosen.reason),
        ("network", chosen.network),
    ]
    console.sheet("found and chosen", rows)
    if summary.findings:
        count = count_of(len(summary.findings), "thing")
        console.warn(f"{count} in the data may be wrong; spp check {shlex.quote(str(summary.source))} lists them")
    for text in dict.fromkeys(item.text for item in summary.findings if item.kind in _COSTLY):
        console.warn(f"class {text}; each is learnt as a class of its own, so mend the annotations first")
    for sentence in chosen.warnings:
        console.warn(sentence)
    console.section(
        "written to spp.toml; next",
        [
            "spp run --dry-run    what will be done, and how long it will take",
            "spp run              makes and evaluates the detector",
        ],
        apart=True,
    )
