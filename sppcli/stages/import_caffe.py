"""Turns a .caffemodel and its prototxt into a network file of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sppcli.artefacts.overwriting import NETWORK, claim
from sppcli.caffe.caffemodel import Blobs, read_caffemodel, read_mean
from sppcli.caffe.graph import Graph
from sppcli.caffe.network import import_network, read_graphs, refuse_other_channels
from sppcli.caffe.prototxt import decoded
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.images import INPUTS, Normalisation
from sppcli.nets.weights import save_network
from sppcli.runtime.inputs import read_regular
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.options import USUAL, RunOptions


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """``normalisation``: caffe or caffe-128 (`images.INPUTS`); ``mean``: three numbers, a .binaryproto or a .npy;
    ``side``: of the training input; ``pyramid``: that fc6 reads; ``classes``: a file with one name per line. None: as
    the prototxt says. ``channels``: bgr or rgb, the order that the network reads; means are in it.
    """

    normalisation: str | None = None
    mean: str | None = None
    side: int | None = None
    pyramid: tuple[int, ...] | None = None
    classes: Path | None = None
    channels: str = "bgr"


@dataclass(frozen=True)
class ImportSummary:
    """``levels``: that fc6 reads; ``fc``: widths of the fc layers; ``notes``: where spp pools otherwise than Caffe."""

    path: Path
    name: str
    convs: int
    levels: tuple[int, ...]
    fc: tuple[int, ...]
    classes: int
    input_size: int
    input_cells: int
    mean: tuple[float, float, float]
    parameters: int
    bytes: int
    notes: tuple[str, ...]


@one_at_a_time
def run(
    models: Sequence[Path],
    prototxts: Sequence[Path],
    output: Path,
    config: ImportConfig,
    *,
    options: RunOptions = USUAL,
) -> ImportSummary:
    """Write ``output`` from ``models`` (a layer that two of them have is the later one's) and one or two ``prototxts``.

    Raises:
        MissingInput, BadInput: a file that is not there, is damaged, or cannot be expressed; weights that do not fit.
        UsageProblem: what the files do not say, and the options neither or twice.
    """
    progress = options.progress
    if output.suffix != ".safetensors":
        raise UsageProblem(f"{output}: networks are written as .safetensors; name such a file with -o")
    claim(
        output,
        NETWORK,
        inputs=[*models, *prototxts, *([config.classes] if config.classes else [])],
        overwrite=options.overwrite,
    )
    graphs = read_graphs(prototxts)
    blobs: Blobs = {}
    for path in models:
        blobs |= read_caffemodel(path)
    # Before anything is asked for.
    refuse_other_channels(graphs[0], blobs)
    normalisation = _normalisation(config, graphs[0])
    classes = None if config.classes is None else _names(config.classes)
    imported = import_network(
        graphs,
        blobs,
        normalisation,
        side=config.side,
        levels=config.pyramid or (),
        classes=classes,
    )
    for note in imported.notes:
        progress.warn(note)
    model = imported.model
    source = {
        "made_by": "import-caffe",
        "models": [str(path) for path in models],
        "prototxts": [str(path) for path in prototxts],
        "options": {name: str(value) for name, value in asdict(config).items() if value not in (None, "bgr")},
    }
    save_network(output, model, source)
    architecture = model.architecture
    return ImportSummary(
        output,
        architecture.name,
        sum(layer.kind == "conv" for layer in architecture.layers),
        model.levels,
        (*architecture.fc, len(architecture.classes)),
        len(architecture.classes),
        architecture.input_size,
        model.cells,
        architecture.normalisation.mean,
        sum(tensor.numel() for tensor in model.parameters()),
        output.stat().st_size,
        imported.notes,
    )


def _normalisation(config: ImportConfig, graph: Graph) -> Normalisation:
    pixels = graph.pixels
    if config.normalisation is not None:
        if config.mean is not None:
            raise UsageProblem("--input and --mean both say what is subtracted from the pixels; give one of them")
        return _in_order(INPUTS[config.normalisation].mean[:: 1 if config.channels == "bgr" else -1], 1.0, config)
    if not pixels.scale or not math.isfinite(pixels.scale):
        raise BadInput(f"{graph.path}: pixels cannot be scaled by {pixels.scale:g}; mend the data layer's scale")
    if config.mean is not None:
        mean = _mean(config.mean)
    elif pixels.mean:
        if len(pixels.mean) not in (1, 3):
            raise BadInput(
                f"{graph.path}: {len(pixels.mean)} mean_values, where one or three are expected; give --mean"
            )
        first, green, last = pixels.mean * (3 // len(pixels.mean))
        mean = (first, green, last)
    else:
        named = f" as a number, only {pixels.mean_file!r}" if pixels.mean_file else ""
        raise UsageProblem(
            f"{graph.path} does not say what is subtracted from the pixels{named}; give --mean B,G,R or a "
            "mean.binaryproto or .npy, or --input caffe or caffe-128 (the SPP-net release's)"
        )
    return _in_order(mean, 1 / pixels.scale, config)


def _in_order(mean: tuple[float, ...], std: float, config: ImportConfig) -> Normalisation:
    """Pixels minus ``mean``, by ``std``; both in the order of channels that the network reads."""
    first, green, last = mean
    return Normalisation((first, green, last), (std, std, std), 1.0, config.channels)


def _mean(text: str) -> tuple[float, float, float]:
    try:
        values = [float(number) for number in text.split(",")]
    except ValueError:
        values = read_mean(Path(text)).tolist()
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise UsageProblem(f"--mean {text}: three numbers are expected, as 104,117,123 (blue, green, red), or a file")
    first, green, last = values
    return first, green, last


def _names(path: Path) -> tuple[str, ...]:
    try:
        names = decoded(read_regular(path)).splitlines()
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such file of class names; correct --classes") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path}: not a readable file of class names ({error}); give a text file with one name per line"
        ) from None
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if not all(names):
        raise BadInput(
            f"{path}: line {names.index('') + 1} is empty, where a class name is expected; "
            "remove the line or name the class"
        )
    return tuple(names)
