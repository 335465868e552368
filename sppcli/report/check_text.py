"""The report of ``spp check`` as lines of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from sppcli.datasets.check import KINDS, Finding
from sppcli.datasets.statistics import Statistics
from sppcli.report.bars import bar
from sppcli.runtime.counts import count_of

WIDTH = 80
_BAR = 24
_NAME = 22
_SPLITS = 4
_FIRST = ("train", "val", "valid", "trainval", "test")
_CLASSES = 100

Section = tuple[str, list[str]]


def sections(
    title: str,
    stats: Statistics,
    findings: Sequence[Finding],
    *,
    note: str = "",
    shown: int | None = 3,
    plain: bool = False,
) -> Iterator[Section]:
    """Headings and the lines below each.

    Args:
        title: what the data set is, for the first heading; ``note``: one more line below it.
        shown: how many findings of each kind are shown; None for all.
        plain: bars of # (`bars.bar`).
    """
    bare = stats.annotated - stats.empty
    yield (
        f"{title}, {count_of(stats.images, 'image')}, {count_of(stats.objects, 'object')} of "
        f"{count_of(len(stats.classes), 'class', 'classes')}",
        [
            f"{count_of(bare, 'image')} with objects, {stats.empty:,} annotated without any, "
            f"{stats.images - stats.annotated:,} not annotated",
            *([note] if note else []),
        ],
    )
    if stats.classes:
        yield "Objects of each class", _class_lines(stats, plain)
    if stats.spreads:
        yield "Sizes in pixels", _size_lines(stats)
    if len(stats.sides):
        yield "Sizes of objects: square root of the area, in pixels", _side_lines(stats, plain)
    yield "What is wrong", _finding_lines(findings, shown) if findings else ["nothing was found"]


def _class_lines(stats: Statistics, plain: bool) -> list[str]:
    ordered = sorted(stats.splits, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))
    splits = ordered[:_SPLITS] if len(ordered) > _SPLITS + 1 else ordered
    labels = sorted(stats.classes, key=lambda label: -stats.classes[label].objects)
    hard = any(count.difficult for count in stats.classes.values())
    rows: list[list[str]] = [["class", "all", *(["difficult"] if hard else []), *(_cut(name, 9) for name in splits)]]
    for label in labels[:_CLASSES]:
        count = stats.classes[label]
        numbers = [count.objects, *([count.difficult] if hard else []), *(count.splits[name] for name in splits)]
        rows.append([_cut(label, _NAME), *(f"{number:,}" for number in numbers)])
    last = ["images", f"{stats.images:,}", *(["-"] if hard else []), *(f"{stats.splits[name]:,}" for name in splits)]
    widths = [max(len(row[i]) for row in [*rows, last]) for i in range(len(last))]
    room = min(_BAR, WIDTH - 2 - sum(widths) - 2 * len(widths))
    greatest = max(count.objects for count in stats.classes.values())
    bars = ["", *(bar(stats.classes[label].objects, greatest, room, plain) for label in labels[:_CLASSES]), ""]
    lines = [_row(row, widths, shape) for row, shape in zip([*rows, last], bars, strict=True)]
    if len(labels) > _CLASSES:
        lines.append(f"{len(labels) - _CLASSES:,} more classes: see --json")
    if len(splits) < len(ordered):
        lines.append(f"{len(ordered) - len(splits):,} more splits: see --json")
    return lines


def _row(cells: Sequence[str], widths: Sequence[int], shape: str) -> str:
    first, *rest = (
        text.rjust(width) if i else text.ljust(width) for i, (text, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *rest, shape]).rstrip()


def _size_lines(stats: Statistics) -> list[str]:
    rows = [["", "least", "5 %", "median", "95 %", "greatest"]]
    rows += [[name, *(f"{value:,.0f}" for value in spread)] for name, spread in stats.spreads.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [_row(row, widths, "") for row in rows]
    frequent = ", ".join(f"{width} x {height} ({count:,})" for (width, height), count in stats.image_sizes[:3])
    more = len(stats.image_sizes) - 3
    lines += _wrapped(f"images: {frequent}{f' and {more:,} more sizes' if more > 0 else ''}")
    return lines


def _side_lines(stats: Statistics, plain: bool) -> list[str]:
    bins = stats.histogram()
    greatest = max(count for _, _, count in bins)
    names = [f"{least:,} to {most:,}" for least, most, _ in bins]
    rows = [[name, f"{count:,}"] for name, (_, _, count) in zip(names, bins, strict=True)]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    room = WIDTH - 4 - sum(widths) - 4
    return [
        _row([row[0].rjust(widths[0]), row[1]], widths, bar(count, greatest, room, plain))
        for row, (_, _, count) in zip(rows, bins, strict=True)
    ]


def _finding_lines(findings: Sequence[Finding], shown: int | None) -> list[str]:
    lines = []
    for kind, found in by_kind(findings).items():
        lines += _wrapped(f"{kind} ({len(found):,}): {KINDS[kind]}")
        for finding in found[:shown]:
            where = "" if finding.image is None or finding.image in finding.text else f"{finding.image}: "
            lines += [f"   {line}" for line in _wrapped(where + finding.text, WIDTH - 5)]
        if shown is not None and len(found) > shown:
            lines.append(f"   … {len(found) - shown:,} more")
    return lines


def by_kind(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    """Kind -> its findings, in the order of `KINDS`; kinds without a finding are left out."""
    return {kind: found for kind in KINDS if (found := [finding for finding in findings if finding.kind == kind])}


def _wrapped(text: str, width: int = WIDTH - 2) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) or [""]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
