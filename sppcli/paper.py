"""The settings of the method as three recipes: the paper's, its release's, and the default of this tool.

Paper: He, Zhang, Ren, Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition" (arXiv
1406.4729). Release: its MATLAB/Caffe code. R-CNN: Girshick et al., whose settings both take over where they name none.
docs/recipes.md lays the three side by side and says why the default is what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every value that decides a result. Beside each: its meaning, and which side of an inequality it is on."""

    name: str

    # Region proposals (section 4.1): Selective Search in "fast" mode, about 2,000 per image.
    mode: str = "fast"
    max_proposals: int = 2000
    # Not in the paper: larger images are searched at this length of the longer side, in pixels.
    max_side: int = 640

    # The network that is taken where neither it nor weights are named. The paper's ZF-5 is nobody's download.
    backbone: str = "alexnet"
    # How pixels are normalised, one of `images.INPUTS`; None for what the weights were trained on: the paper subtracts
    # the mean of its networks' training images.
    pixels: str | None = None
    # Conv maps (section 4.1): lengths of the image's shorter side, in pixels.
    scales: tuple[int, ...] = (480, 576, 688, 864, 1200)

    # Features of regions (sections 2.2, 4.1; Appendix A).
    pyramid: tuple[int, ...] = (6, 3, 2, 1)
    # "pixels": the scale at which the region's pixel count is nearest to window_side squared (paper).
    # "side": the scale nearest to the rounded one that would give it just that size (release).
    scale_rule: str = "pixels"
    # "input": the side of the network's training input, 224. "map": that of its map times the stride, 13 * 16 = 208.
    window_side: str = "input"
    # Pixels of the scaled image by which a window is widened before it is asked which cells' centres it holds.
    slack: float = 0.0

    # SVMs (section 4.1).
    # How each feature vector is normalised: "none", "l2" or "sqrt-l2"; then all are scaled to a mean length of
    # feature_norm.
    normalize: str = "none"
    feature_norm: float = 20.0
    c: float = 0.001
    # Weight of a positive's loss; a negative's is 1.
    positive_weight: float = 2.0
    # The constant feature that learns the bias (liblinear's -B); regularised with the rest.
    bias_feature: float = 10.0
    # A proposal is a negative of a class when its IoU with every object of the class is strictly below this.
    negative_iou: float = 0.3
    # Of an image's hard negatives that overlap by an IoU strictly above this, the best-scoring one is kept; 1 keeps
    # all.
    duplicate_iou: float = 0.7
    # "rounds": random negatives first, then passes over all images that train at their end.
    # "single-pass": all negatives of the first image, then one pass that trains whenever retrain_after is exceeded.
    mining: str = "rounds"
    mining_rounds: int = 1
    # Rounds: random negatives of each class before the first training, drawn evenly from all images; and hard negatives
    # that one image adds to a class in a round at most, the best-scoring ones. A single pass takes all.
    first_negatives: int = 3000
    hard_per_image: int = 100
    # Mining adds negatives that score strictly above hard_score; each training drops those strictly below evict_score.
    hard_score: float = -1.0
    evict_score: float = -1.2
    # In a single pass, a class is trained as soon as it has strictly more new negatives than this.
    retrain_after: int = 2000

    # Fine-tuning (section 4.1): (mini-batches, learning rate) in turn; () for a schedule made for the data.
    finetune_schedule: tuple[tuple[int, float], ...] = ((250_000, 1e-4), (50_000, 1e-5))
    # "sgd", "adamw", or None: adamw for new fc layers, sgd for those that are tuned.
    finetune_optimiser: str | None = "sgd"
    # Whether each class is drawn equally often; otherwise each proposal is, and rare classes are seldom seen.
    finetune_even_classes: bool = False

    # Bounding-box regression (section 4.1, after R-CNN).
    # Proposals whose IoU with their object is at least this are examples; strictly above it with strict_iou.
    min_iou: float = 0.5
    strict_iou: bool = False
    # Weight of the squared norm of the regressor, its bias included.
    ridge: float = 1000.0
    # "half-open": a box of pixels 3 to 5 is 3 wide. "inclusive": 2 wide, as the release computes it.
    box_width: str = "half-open"

    # Detection (section 4.1).
    # Of two detections of one class with an IoU strictly above this, the worse is dropped.
    nms: float = 0.3
    # Whether that is done once more on the regressed boxes.
    nms_again: bool = False
    # Whether the regressed boxes are pooled, scored and regressed again, and suppressed with those of the first pass.
    second_pass: bool = False
    max_per_image: int = 100
    # Proposals that score at or below this are dropped before suppression.
    min_score: float = -1.5


PAPER = Recipe(name="paper")
RELEASE = replace(
    PAPER,
    name="release",
    pixels="caffe-128",
    scales=(480, 576, 688, 874, 1200),
    scale_rule="side",
    window_side="map",
    # Derived for ZF-5: half its stride of 16 less its `offset` of 6.5.
    slack=1.5,
    duplicate_iou=1.0,
    mining="single-pass",
    hard_score=-1.0001,
    finetune_schedule=((30_000, 1e-3), (30_000, 1e-4), (30_000, 1e-5)),
    strict_iou=True,
    ridge=4000.0,
    box_width="inclusive",
    nms_again=True,
)
# Chosen on the validation images of real data (docs/recipes.md).
DEFAULT = replace(
    PAPER,
    name="default",
    backbone="efficientnet_lite0",
    normalize="sqrt-l2",
    c=0.01,
    nms_again=True,
    finetune_schedule=(),
    finetune_optimiser=None,
    finetune_even_classes=True,
)

RECIPES = {recipe.name: recipe for recipe in (DEFAULT, PAPER, RELEASE)}
