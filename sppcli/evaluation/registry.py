"""The registry of evaluation protocols, one line each: the name is an option of ``spp evaluate``, the line an
`Evaluate`.

COCO's and ILSVRC's need more than boxes and labels (areas, crowds, a blacklist), so that they have stages of their own.
"""

from __future__ import annotations

from sppcli.registry import Entry

PROTOCOLS: dict[str, Entry] = {
    "voc2007": Entry(
        "sppcli.evaluation.voc_ap:voc2007",
        "Report 11-point average precision, as VOC 2007 does. This is the default.",
    ),
    "voc2010": Entry(
        "sppcli.evaluation.voc_ap:voc2010",
        "Report the area under the precision-recall curve, as VOC 2010 and later do.",
    ),
    "coco": Entry(
        "sppcli.evaluation.coco_ap:evaluate_coco",
        "Report COCO's measures: AP over IoU 0.50:0.95, AP by object size, and average recall.",
    ),
    "ilsvrc": Entry(
        "sppcli.evaluation.ilsvrc:evaluate_ilsvrc",
        "Report ILSVRC's AP: the area under the curve, with a lower IoU for small objects, without the images of the "
        "blacklist.",
    ),
}
