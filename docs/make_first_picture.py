"""Draw the picture that README opens with, docs/pictures/first.jpg, from a finished `spp demo`.

python docs/make_first_picture.py spp-demo
python docs/make_first_picture.py spp-demo 000181      # another scene than the one with the most digits found

The scene is composed by the demonstration: handwritten digits over a part of two photographs of scikit-learn, which
danielbuechele (china.jpg) and vultilion (flower.jpg) gave under the licence CC BY 2.0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.proposals import read_proposals
from sppcli.datasets import Dataset, open_dataset
from sppcli.features.conv_maps import Extractor, choose_device
from sppcli.geometry.projection import cells_at
from sppcli.images import read_image, size_at
from sppcli.nets.weights import load_network
from sppcli.report.drawing import Mark, Tile, class_colours, contact_sheet, draw
from sppcli.report.overlays import Overlay, detection_overlay
from sppcli.report.picture_files import write_picture
from sppcli.report.teaching import SIDE, Place, heated, pyramid_tiles
from sppcli.structures import ByteImage, Detections

PICTURE = Path(__file__).with_name("pictures") / "first.jpg"
SCALE, LEVEL, BEST, LEAST = 300, 3, 60, 0.0


def overlay(found: Detections, row: int, data: Dataset, image_id: str) -> Overlay:
    """The detections of one scene that score `LEAST` or more, against its ground truth."""
    return detection_overlay(found.of_image(row), data.annotations(image_id), class_colours(data.classes), LEAST, 100)


def most_found(found: Detections, data: Dataset) -> str:
    """The scene with the most digits found beyond those that are false or missed; the first of several."""

    def good(image_id: str) -> int:
        seen = overlay(found, found.image_ids.index(image_id), data, image_id)
        return (seen.found or 0) - 2 * seen.mistakes

    return max(sorted(found.image_ids), key=good)


def tiles(folder: Path, image_id: str | None) -> list[Tile]:
    """Region proposals, a channel of the conv map, a region's bins, and detections."""
    data = open_dataset([folder / "digits"])
    found, proposals = read_detections(folder / "detections.h5").detections, read_proposals(folder / "proposals.h5")
    name = image_id or most_found(found, data)
    image: ByteImage = read_image(next(item.path for item in data.images if item.id == name))
    height, width = image.shape[:2]
    network = load_network(str(folder / "digits.safetensors"), None)
    conv_map = Extractor(network, choose_device("cpu"), "fp32")(image, SCALE, name)
    place = Place(network.grid, size_at(height, width, SCALE)[0] / height, height, width)
    boxes = proposals.of(proposals.images.ids.index(name))
    thin = [Mark(tuple(map(float, box)), (255, 0, 110), "thin") for box in boxes[:BEST]]  # type: ignore[arg-type]
    truth = data.annotations(name)
    areas = (truth.boxes[:, 2] - truth.boxes[:, 0]) * (truth.boxes[:, 3] - truth.boxes[:, 1])
    region = truth.boxes[[int(areas.argmax())]]
    cells = cells_at(region, height, width, [SCALE], [conv_map.shape[:2]], network.grid, np.zeros(1, np.int64))[0]
    x0, y0, x1, y1 = (float(end) for end in region[0])
    window = (int(cells[0]), int(cells[1]), int(cells[2]), int(cells[3]))
    pooled = pyramid_tiles(image, conv_map, (x0, y0, x1, y1), window, (LEVEL,), place)[1]
    values = np.asarray(conv_map, dtype=np.float32)
    # The channel that answers in the most places.
    channel = int((values.mean(axis=(0, 1)) / np.maximum(values.max(axis=(0, 1)), 1e-6)).argmax())
    heat = heated(image, values[:, :, channel], place)
    seen = overlay(found, found.image_ids.index(name), data, name)
    return [
        Tile(f"1  region proposals ({min(BEST, len(boxes))} of {len(boxes):,})", draw(image, thin, SIDE)),
        Tile("2  conv feature maps of the whole image, once (1 channel)", draw(heat, [], SIDE)),
        Tile(f"3  any region pooled to a fixed size (here {LEVEL} x {LEVEL})", pooled.image),
        Tile(f"4  classified, its box corrected: {seen.caption}", draw(image, seen.marks, SIDE)),
    ]


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print("usage: python docs/make_first_picture.py DEMO_FOLDER [SCENE]", file=sys.stderr)
        return 2
    drawn = tiles(Path(arguments[0]), arguments[1] if len(arguments) == 2 else None)
    write_picture(PICTURE, contact_sheet(drawn, "SPP-net on a scene of spp demo", []))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
