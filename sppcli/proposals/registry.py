"""The registry of region proposal methods, one line each; a line leads to a `proposals.propose.Search`."""

from __future__ import annotations

from sppcli.registry import Entry

METHODS: dict[str, Entry] = {
    "selective-search": Entry(
        "sppcli.proposals.selective_search.search:propose", "segments of the image, joined by likeness"
    ),
    "edge-boxes": Entry("sppcli.proposals.edge_boxes:propose", "boxes that wholly enclose many contours"),
}
