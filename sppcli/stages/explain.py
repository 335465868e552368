"""The method drawn over one's own picture, for teaching: pyramid, receptive fields, channels of the conv map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sppcli.artefacts.overwriting import PICTURE, claim
from sppcli.errors import BadInput, UsageProblem
from sppcli.features.conv_maps import Extractor, choose_device, prepare
from sppcli.geometry.projection import cells_at
from sppcli.images import read_image, size_at
from sppcli.nets.seen_pixels import seen_pixels
from sppcli.nets.weights import load_network
from sppcli.report.drawing import Tile, contact_sheet
from sppcli.report.picture_files import JPEG, PNG, write_picture
from sppcli.report.teaching import Box, Place, channel_tiles, field_tiles, pyramid_tiles, strongest, strongest_cell
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.structures import ByteImage, FloatArray

PYRAMID, FIELD, CHANNELS = EXPLAINED = ("pyramid", "receptive-field", "channels")
_FIELDS, _CHANNELS = 6, 11


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """What to draw.

    | field | meaning |
    |---|---|
    | what | one of `EXPLAINED` |
    | weights, backbone | the network, as of `load_network` |
    | scale | pixels of the shorter side that the network sees |
    | box | the region of a pyramid, x0 y0 x1 y1 in pixels; None: the middle half of the image |
    | levels | bins on a side of each level |
    """

    what: str = PYRAMID
    weights: str = "imagenet"
    backbone: str | None = None
    scale: int = 688
    box: Box | None = None
    levels: tuple[int, ...] = (6, 3, 2, 1)


@dataclass(frozen=True)
class ExplainSummary:
    """``output``: the picture; ``cells``: height, width and channels of the conv map."""

    output: Path
    what: str
    network: str
    cells: tuple[int, int, int]


def run(image: Path, output: Path, config: ExplainConfig, *, options: RunOptions = USUAL) -> ExplainSummary:
    """Draw ``image`` as the network sees it.

    Raises:
        MissingInput, BadInput: the image or the weights cannot be read, or the box lies outside the image.
        UsageProblem: the picture's ending, or no such backbone.
    """
    if output.suffix.lower() not in (*PNG, *JPEG):
        raise UsageProblem(f"{output}: pictures are PNG or JPEG; name a file ending in .png or .jpg")
    claim(output, PICTURE, inputs=[image], overwrite=options.overwrite)
    pixels = read_image(image)
    network = load_network(config.weights, config.backbone)
    height, width = pixels.shape[:2]
    device = choose_device("cpu")
    # In float32: where layers are not known, gradients are taken.
    extractor = Extractor(network, device, "fp32")
    conv_map = extractor(pixels, config.scale, str(image))
    scaled = size_at(height, width, config.scale)
    place = Place(network.grid, scaled[0] / height, height, width)
    if config.what == PYRAMID:
        tiles = _pyramid(pixels, conv_map, config, place, image)
    elif config.what == CHANNELS:
        tiles = channel_tiles(pixels, conv_map, _CHANNELS, place)
    else:
        given = prepare([pixels], config.scale, network.normalisation, device)
        channels = strongest(conv_map, _FIELDS)
        cells = [strongest_cell(conv_map[:, :, channel]) for channel in channels]
        found = []
        fields = seen_pixels(network.trunk, given, cells)
        for channel, (row, column), seen in zip(channels, cells, fields, strict=True):
            x0, y0, x1, y1 = (end / place.factor for end in seen)
            value = float(conv_map[row, column, channel])
            found.append((channel, value, (column, row, column + 1, row + 1), (x0, y0, x1, y1)))
        tiles = field_tiles(pixels, found, place)
    name = f"{network.backbone}, cut after {network.cut}"
    title = f"{image.name}: {config.what.replace('-', ' ')}; {name}, shorter side at {config.scale} pixels"
    write_picture(output, contact_sheet(tiles, title, []))
    return ExplainSummary(output, config.what, name, conv_map.shape)


def _pyramid(pixels: ByteImage, conv_map: FloatArray, config: ExplainConfig, place: Place, image: Path) -> list[Tile]:
    height, width = pixels.shape[:2]
    box = config.box or (width / 4, height / 4, 3 * width / 4, 3 * height / 4)
    x0, y0, x1, y1 = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    if x1 <= x0 or y1 <= y0:
        raise BadInput(
            f"{image} has {width} x {height} pixels, and the box {','.join(f'{end:g}' for end in box)} none of them; "
            "give x0,y0,x1,y1"
        )
    region = np.array([[x0, y0, x1, y1]], dtype=np.float32)
    index = np.zeros(1, dtype=np.int64)
    cells = cells_at(region, height, width, [config.scale], [conv_map.shape[:2]], place.grid, index)[0].tolist()
    return pyramid_tiles(
        pixels, conv_map, (x0, y0, x1, y1), (cells[0], cells[1], cells[2], cells[3]), config.levels, place
    )
