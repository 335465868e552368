"""Write the drawings of docs/method.md: docs/pictures/*.svg.

With ``--check``, fail if one of them is stale. Each follows the reader's light or dark setting by itself.

python docs/make_drawings.py
python docs/make_drawings.py --check
"""

from __future__ import annotations

import sys
from pathlib import Path

PICTURES = Path(__file__).with_name("pictures")
_STYLE = """\
<style>
  text { font: 14px system-ui, sans-serif; fill: #222 }
  .small { font-size: 12px; fill: #555 }
  .line { stroke: #555; fill: none; stroke-width: 1.2 }
  .box { stroke: #555; fill: #eef2f6; stroke-width: 1.2 }
  .cell { stroke: #8a97a6; fill: #eef2f6; stroke-width: .8 }
  .on { stroke: #8a97a6; fill: #7fb3d9; stroke-width: .8 }
  .maximum { stroke: #8a97a6; fill: #e0912f; stroke-width: .8 }
  .window { stroke: #c2410c; fill: none; stroke-width: 2.2 }
  .dot { fill: #8a97a6 } .inside { fill: #1d6fa5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e6e6 } .small { fill: #b0b0b0 } .line, .box { stroke: #b0b0b0 } .box, .cell { fill: #2a3038 }
    .on { fill: #2f6f9f } .maximum { fill: #b86f1a } .window { stroke: #fb923c } .inside { fill: #6bb5e8 }
  }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 8 4 0 8z" fill="#888"/></marker></defs>
"""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{words}</text>\n'


def rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{kind}"/>\n'


def arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<path d="M{x0:g} {y0:g}L{x1:g} {y1:g}" class="line" marker-end="url(#tip)"/>\n'


def labelled(x: float, y: float, width: float, words: str, height: float = 44) -> str:
    return rectangle(x, y, width, height, "box") + text(x + width / 2, y + height / 2 + 5, words)


def page(width: int, height: int, title: str, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">\n'
        f"<title>{title}</title>\n{_STYLE}{body}</svg>\n"
    )


def one_pass() -> str:
    """What is computed for each region, and what once per image."""
    regions = ((14, 30, 40, 26), (34, 20, 34, 48), (8, 8, 26, 30))

    def image(y: float) -> str:
        return rectangle(8, y, 90, 76, "box") + "".join(
            rectangle(8 + x, y + top, w, h, "window") for x, top, w, h in regions
        )

    body = text(8, 20, "R-CNN: the network runs for every region", anchor="start") + image(34)
    for k in range(3):
        y = 28 + 32 * k
        body += arrow(104, 72, 146, y + 13) + labelled(150, y, 90, "warp", 26) + arrow(242, y + 13, 268, y + 13)
        body += labelled(272, y, 150, "conv layers", 26) + arrow(424, y + 13, 520, y + 13)
        body += labelled(524, y, 100, "fc layers", 26)
    body += text(386, 142, "… 2,000 times", "small")
    body += text(8, 182, "SPP-net: the conv layers run once", anchor="start") + image(196)
    body += arrow(104, 234, 124, 234) + labelled(128, 212, 110, "conv layers")
    body += arrow(240, 234, 264, 234) + labelled(268, 212, 96, "conv map")
    for k in range(3):
        y = 190 + 32 * k
        body += arrow(366, 234, 396, y + 13) + labelled(400, y, 96, "pyramid", 26) + arrow(498, y + 13, 520, y + 13)
        body += labelled(524, y, 100, "fc layers", 26)
    body += text(512, 304, "… 2,000 times, at little cost", "small")
    return page(640, 316, "R-CNN runs its conv layers once for every region, SPP-net once per image", body)


def pyramid() -> str:
    """A window of the map, its three levels, and the vector of their maxima."""
    side, columns, rows, body = 15, 16, 12, text(120, 22, "conv map, 256 channels")
    window = (3, 2, 12, 9)
    for row in range(rows):
        for column in range(columns):
            inside = window[0] <= column < window[2] and window[1] <= row < window[3]
            body += rectangle(column * side + 2, row * side + 34, side, side, "on" if inside else "cell")
    body += rectangle(
        window[0] * side + 2,
        window[1] * side + 34,
        (window[2] - window[0]) * side,
        (window[3] - window[1]) * side,
        "window",
    )
    body += text(120, 236, "9 x 7 cells, or any other number", "small")
    top = 26.0
    for level, bins in ((3, "9 bins"), (2, "4 bins"), (1, "1 bin")):
        extent, place = 54.0, 310
        for row in range(level):
            for column in range(level):
                step = extent / level
                body += rectangle(place + column * step, top + row * step, step, step, "maximum")
        body += text(place + 70, top + 32, f"{level} x {level}: {bins}", anchor="start")
        body += arrow(246, 128, 304, top + 27) + arrow(470, top + 27, 512, 122)
        top += 70
    for k in range(14):
        body += rectangle(520, 34 + k * 13, 26, 13, "maximum")
    body += text(556, 120, "14 x 256", anchor="start") + text(556, 138, "numbers,", anchor="start")
    body += text(556, 156, "always", anchor="start")
    body += text(408, 236, "each bin keeps the maximum of each channel", "small")
    return page(640, 250, "Spatial pyramid pooling turns a region of any size into a vector of one length", body)


def projection() -> str:
    """Along one side of the image: which cells a region reaches."""
    stride, first, scale = 16, 8, 2.6
    start, end = 35, 144
    body = text(12, 22, "pixels of the resized image", "small", "start")
    body += rectangle(12, 32, 224 * scale, 16, "cell")
    body += rectangle(12 + start * scale, 28, (end - start) * scale, 24, "window")
    body += text(12 + start * scale, 70, f"{start}", "small") + text(12 + end * scale, 70, f"{end}", "small")
    for k in range(14):
        centre = 12 + (first + stride * k) * scale
        inside = start < first + stride * k < end
        body += f'<circle cx="{centre:g}" cy="40" r="3.2" class="{"inside" if inside else "dot"}"/>\n'
        body += f'<path d="M{centre:g} 48V106" class="line" stroke-dasharray="2 3" opacity=".55"/>\n'
        body += rectangle(12 + stride * k * scale, 108, stride * scale, 26, "on" if inside else "cell")
        body += text(centre, 126, str(k), "small")
    note = "cells of the conv map, a stride of 16 pixels apart; blue: pooled, as their centre lies inside"
    body += text(12, 156, note, "small", "start")
    return page(640, 168, "A region reaches those cells of the conv map whose centre lies inside it", body)


DRAWINGS = {"one-pass.svg": one_pass, "pyramid.svg": pyramid, "projection.svg": projection}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/make_drawings.py [--check]", file=sys.stderr)
        return 2
    for name, draw in DRAWINGS.items():
        path = PICTURES / name
        if not arguments:
            PICTURES.mkdir(exist_ok=True)
            path.write_text(draw(), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != draw():
            print(f"docs/pictures/{name} is stale; run python docs/make_drawings.py", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
