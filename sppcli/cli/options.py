"""Options that several commands share; the types of their values are those of `cli.types`.

Options are decorators (``@options.jobs``) or make one (``@options.output("proposals.h5")``). Paths are not checked
here: a missing file is the stage's `MissingInput` (exit 3), not a usage error (exit 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sppcli.cli.types import Bytes, Device, IntList, NameList, Number, PathOrUrl, PositiveFloat
from sppcli.nets.registry import BACKBONES
from sppcli.paper import DEFAULT, PAPER, RECIPES
from sppcli.runtime.trackers import TRACKERS, require

WHERE = "tensorboard, in the folder tensorboard/; mlflow, in mlruns/ or where MLFLOW_TRACKING_URI says"

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

if TYPE_CHECKING:
    from sppcli.detection.training_plan import WindowSettings

# Key of the verbosity in click's context: -1 quiet, 0 as usual, 1 verbose.
VERBOSITY = "sppcli.verbosity"
# Of `spp run`: what the progress bar of a stage is labelled with (2/5), and the stage, for errors.
STEP = "sppcli.step"
STAGE = "sppcli.stage"
ENDLESS = "sppcli.endless"  # of work that Ctrl-C is the way to end: what is then said

FilePath, OutputPath, LocalPath = PathOrUrl(), PathOrUrl("write"), PathOrUrl("here")
Weights = PathOrUrl(text=True)


def _set_verbosity(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        wanted = -1 if param.name == "quiet" else 1
        if ctx.meta.get(VERBOSITY, wanted) != wanted:
            raise click.UsageError("--quiet and --verbose exclude each other.", ctx)
        ctx.meta[VERBOSITY] = wanted


def verbosity(function: F) -> F:
    """``-q/--quiet`` and ``-v/--verbose``: every command has them. They reach `cli.console` by themselves."""
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Print only results, warnings and errors.",
    )
    verbose = click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_set_verbosity, help="Print what is being done."
    )
    return quiet(verbose(function))


def output(default: str | None, what: str = "The file to write.") -> Decorator[Any]:
    """``-o/--output`` as ``output: Path`` (or None if there is no default)."""
    return click.option("-o", "--output", type=OutputPath, default=default, metavar="FILE", help=what)


def _input(name: str, default: str, made_by: str) -> Decorator[Any]:
    """``--NAME FILE``: a file that an earlier stage made, by default its own default name in this folder."""
    return click.option(
        f"--{name}", type=FilePath, default=default, metavar="FILE", help=f"The file made by spp {made_by}."
    )


proposals = _input("proposals", "proposals.h5", "propose")
features = _input("features", "features.h5", "extract")
recipe = click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default=DEFAULT.name,
    help=("Take the values of the paper, of its release, or our defaults. Each option given here overrides its value."),
)


def of_recipe(flag: str, kind: click.ParamType[Any] | None, text: str, **more: Any) -> Decorator[Any]:
    """An option whose default is the recipe's value of the same name; see `chosen`."""
    name = flag.split("/")[0].removeprefix("--").replace("-", "_")
    value = getattr(DEFAULT, name)
    shown = IntList.text(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else value
    if isinstance(value, bool):
        shown = flag.split("/")[0 if value else 1].removeprefix("--")
    return click.option(flag, name, type=kind, default=None, show_default=str(shown), help=text, **more)


def chosen(recipe_name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` of options made by `of_recipe`, with the recipe's where nothing was given."""
    return {name: getattr(RECIPES[recipe_name], name) if value is None else value for name, value in values.items()}


layer = click.option(
    "--layer",
    type=click.Choice(["pool5", "fc6", "fc7"]),
    default="pool5",
    help=("Layer whose output is classified: pool5 is the pyramid itself, fc6 and fc7 are the fully connected layers."),
)
pyramid = click.option(
    "--pyramid",
    type=IntList("6,3,2,1"),
    metavar="LEVELS",
    show_default="the network's, else 6,3,2,1",
    help="Pyramid levels: the number of bins on a side of each.",
)
_WINDOWS = (
    of_recipe(
        "--normalize",
        click.Choice(["sqrt-l2", "l2", "none"]),
        (
            "How each feature vector is scaled: sqrt-l2, square root and then length 1; l2, length 1; none, "
            "as it is. Then all are scaled to the mean length of --feature-norm."
        ),
    ),
    of_recipe("--feature-norm", PositiveFloat(20), "Mean length that the feature vectors are scaled to."),
    of_recipe(
        "--scale-rule",
        click.Choice(["pixels", "side"]),
        (
            "How the scale of a region is chosen: pixels, nearest number of pixels (paper); side, nearest "
            "rounded side (release)."
        ),
    ),
    of_recipe(
        "--window-side",
        click.Choice(["input", "map"]),
        ("Side that a region should have at its scale: the network's input (224), or its map times the stride (208)."),
    ),
    of_recipe(
        "--slack",
        Number(1.5),
        "Pixels by which a region is enlarged before the cells whose centres it holds are found.",
    ),
)


_window_layer = click.option(
    "--layer",
    type=click.Choice(["pool5", "fc6", "fc7"]),
    show_default="pool5; of spp extract --method rcnn what it stored",
    help=("Layer whose output is classified: pool5 is the pyramid itself, fc6 and fc7 are the fully connected layers."),
)


svd = click.option(
    "--svd",
    type=IntList("1024,256", repeats=True),
    metavar="RANKS",
    help="Truncate fc6 (and fc7) to these ranks by singular value decomposition, which is faster and less exact.",
)
_fc_precision = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    help="Precision of fc6 and fc7. bf16 rounds to 8 significant bits; auto takes it where the processor has it.",
)


def windows(function: F) -> F:
    """Options on how features of regions are made: layer, pyramid, ranks, precision and the recipe's values for it."""
    for decorator in reversed((_window_layer, pyramid, svd, _fc_precision, *_WINDOWS)):
        function = decorator(function)
    return function


def window_settings(recipe_name: str, given: Mapping[str, Any]) -> tuple[WindowSettings, dict[str, Any]]:
    """Return the settings of the options `windows` in ``given``, and the values of the others, as `chosen`."""
    from sppcli.detection.training_plan import WindowSettings

    rest = dict(given)
    layer, pyramid, svd, precision = (rest.pop(name) for name in ("layer", "pyramid", "svd", "precision"))
    rest = chosen(recipe_name, rest)
    values = {name: rest.pop(name) for name in ("normalize", "feature_norm", "scale_rule", "window_side", "slack")}
    return WindowSettings(layer=layer, pyramid=pyramid, svd=svd or (), precision=precision, **values), rest


network_weights = click.option(
    "--weights",
    type=Weights,
    metavar="imagenet|FILE",
    show_default="those of spp extract",
    help="Network whose fc6 and fc7 are used.",
)
whole_weights = click.option(
    "--weights",
    type=Weights,
    metavar="imagenet|FILE",
    show_default="those of spp extract",
    help="Weights of the whole network, backbone and fc layers, for new IMAGEs.",
)
dataset = click.option(
    "--dataset", type=FilePath, metavar="FOLDER", help="Folder of the data set, if it has moved since spp propose."
)
memory = click.option(
    "--memory", type=Bytes(), default="2.5G", help="Largest memory that the training may use, for example 800M or 3G."
)


flip = click.option("--flip", is_flag=True, help="Learn from mirror images too, whose maps spp extract --flip stores.")


def training(function: F) -> F:
    """Options of every training on regions: memory, seed, weights, data set, device, force, JSON, -q and -v."""
    for decorator in reversed((memory, seed, network_weights, dataset, device, force, as_json, verbosity)):
        function = decorator(function)
    return function


def split(default: str) -> Decorator[Any]:
    """``--split NAME``: train, val, trainval, test, whatever the data set has, or all."""
    return click.option("--split", default=default, metavar="NAME", help="Split of the data set, or all.")


svm = _input("svm", "svm.h5", "train-svm")
bbox = click.option(
    "--bbox",
    type=FilePath,
    metavar="FILE",
    show_default="bbox.h5 if it is there",
    help="The bounding-box regression made by spp train-bbox.",
)


def models(what: str, metavar: str = "FOLDER") -> Decorator[Any]:
    """``--model FOLDER`` as ``models: tuple[Path, ...]``: in place of the files of one detector in this folder."""
    return click.option("--model", "models", type=FilePath, multiple=True, metavar=metavar, help=what)


def network_file(what: str) -> Decorator[Any]:
    """``--network FILE``: a detector of `spp train-detector`."""
    return click.option("--network", type=FilePath, metavar="FILE", help=what)


_again = click.option("--force", is_flag=True, help="Make the output again even if it is up to date.")
overwrite = click.option(
    "--overwrite", is_flag=True, help="Replace the output even if it is not a file that this command made."
)
_wait = click.option("--wait", is_flag=True, help="Wait for another run that works on the same output, then go on.")


def force(function: F) -> F:
    """``--force``, ``--wait`` and ``--overwrite``: every stage that makes an artefact has them."""
    return _again(_wait(overwrite(function)))


dry_run = click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be done, with a forecast of time, memory and disk, and do nothing.",
)


def _trackers(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Each named once, and installed."""
    require(item for item in value if item in TRACKERS)
    return tuple(dict.fromkeys(value))


def log(what: str) -> Decorator[Any]:
    """``--log tensorboard|mlflow`` as ``log: tuple[str, ...]``: trackers that ``what`` goes to."""
    return click.option(
        "--log",
        type=click.Choice(TRACKERS),
        multiple=True,
        callback=_trackers,
        help=f"Give {what} to an experiment tracker: {WHERE}. May be given twice.",
    )


run_log = click.option(
    "--log",
    type=PathOrUrl("here", text=True),
    multiple=True,
    callback=_trackers,
    metavar="FILE|off|tensorboard|mlflow",
    show_default="runs.jsonl",
    help=(
        "Add one line of JSON on this evaluation to FILE, which spp compare reads; off adds none. tensorboard and "
        f"mlflow, beside it or alone, give the figures to an experiment tracker: {WHERE}. May be given several "
        "times."
    ),
)
ASKING = "sppcli.dry-run"
"""Key in click's context: say whether the stage would work, and do nothing."""


def _ask(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[ASKING] = True


asking = click.option(
    "--dry-run",
    is_flag=True,
    expose_value=False,
    callback=_ask,
    help="Print what would be done, with a forecast of time, memory and disk, and do nothing.",
)
"""``--dry-run`` of stages that have only one thing to do or nothing; `cli.helpful` sees to it."""
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
checkpoint = click.option(
    "--checkpoint",
    "checkpoint_seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    help="Seconds between two checkpoints. A training that was killed goes on from the last one.",
)
strict = click.option(
    "--strict", is_flag=True, help="Stop at the first input that cannot be used, instead of skipping it."
)
seed = click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of all random numbers.")
jobs = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    show_default="all usable cores",
    help="Number of worker processes. The result does not depend on it.",
)
device = click.option(
    "--device",
    type=Device(),
    default="auto",
    help="Device that networks run on: auto, cpu, cuda or cuda:N. auto takes a GPU if there is one.",
)
precision = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    help=(
        "Precision of the convolutions. bf16 rounds to 8 significant bits; auto takes it where the processor has it."
    ),
)
_CUT = click.option(
    "--cut", metavar="LAYER", help="Layer whose output is the conv feature map.  [default: what suits the backbone]"
)
_CUTS = click.option(
    "--cut",
    type=NameList("features.10,features.12"),
    metavar="LAYERS",
    show_default="what suits the backbone",
    help="Layers whose outputs are the conv feature maps, in the order of the backbone.",
)
_NETWORK = (
    click.option(
        "--backbone",
        metavar="NAME",
        show_default=(
            f"the one that the weights file fits; for imagenet {DEFAULT.backbone}, "
            f"or {PAPER.backbone} with --recipe paper or release"
        ),
        help=f"Backbone: {', '.join(BACKBONES)}, or timm/NAME, any convolutional network of timm.",
    ),
    click.option(
        "--weights",
        type=Weights,
        default="imagenet",
        metavar="imagenet|FILE",
        help=(
            "Weights of the backbone: imagenet (downloaded once by torchvision; efficientnet_lite0's are those of an "
            "installed package), or a .safetensors or PyTorch file."
        ),
    ),
    _CUT,
    click.option(
        "--input",
        "normalisation",
        type=click.Choice(["imagenet", "inception", "caffe", "caffe-128"]),
        show_default="the weights file's own, else torchvision's for the backbone",
        help=(
            "How pixels are normalised for the weights. imagenet: RGB by ImageNet's mean and standard "
            "deviation; inception: RGB from -1 to 1; caffe: BGR minus Caffe's mean pixel; caffe-128: BGR "
            "minus 128, as in the paper's release."
        ),
    ),
    precision,
    device,
)


def network(function: F) -> F:
    """Which network runs, and how: ``backbone``, ``weights``, ``cut``, ``normalisation``, ``precision``, ``device``."""
    for decorator in reversed(_NETWORK):
        function = decorator(function)
    return function


def detector_network(function: F) -> F:
    """As `network`; ``cut`` is a tuple of layers."""
    for decorator in reversed(_NETWORK):
        function = (_CUTS if decorator is _CUT else decorator)(function)
    return function
