"""Multi-size training of an SPP classifier (paper, section 2.3 and "Training the classifier").

The network is trained a full epoch at one input size, the next epoch at the other, sharing every weight: the
pyramid's vector has the same length at both. The smaller image is the same crop resized, not a smaller crop, so that
both sizes show the same things. SGD with momentum; the learning rate is divided by ten at given points.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sppcli.engine.progress import NoProgress, Progress
from sppcli.images import Normalisation
from sppcli.nets.classifier import Architecture, SppClassifier
from sppcli.structures import ByteImage, IntArray


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. Defaults are the paper's: sizes 224 and 180, 70 epochs (ZF-5), rate 0.01 divided by 10 twice.

    Args:
        sizes: input sides in pixels, taken in turn, an epoch each; the first is the canonical one.
        epochs: passes over the samples, all sizes together.
        batch: images a step.
        learning_rate: at the start.
        steps: shares of the epochs after which the rate is divided by 10.
        momentum, weight_decay: of SGD.
        colour: deviation of the random gain and lift a channel, as a share of 255; 0 for none.
        seed: of the initial weights, the order, the crops, the colours and the dropout.
    """

    sizes: tuple[int, ...] = (224, 180)
    epochs: int = 70
    batch: int = 64
    learning_rate: float = 0.01
    steps: tuple[float, ...] = (0.6, 0.85)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    colour: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sizes or max(self.sizes) != self.sizes[0]:
            raise ValueError(f"the first size must be the largest: {self.sizes}")

    def rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return self.learning_rate * 0.1 ** sum(epoch >= round(step * self.epochs) for step in self.steps)

    def size_at(self, epoch: int) -> int:
        """Input size of an epoch, counted from 0."""
        return self.sizes[epoch % len(self.sizes)]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Samples(Protocol):
    """Labelled images to train on, all of one size that is at least the largest input size."""

    def __len__(self) -> int: ...

    def batch(self, indices: IntArray) -> tuple[ByteImage, IntArray]:
        """Images (B, S, S, 3) uint8 RGB and labels (B,) int64 of the samples at ``indices`` (B,)."""


@dataclass(frozen=True)
class InMemory:
    """Samples held as arrays: ``images`` (N, S, S, 3) uint8, ``labels`` (N,) int64."""

    images: npt.NDArray[np.uint8]
    labels: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: IntArray) -> tuple[ByteImage, IntArray]:
        return self.images[indices], self.labels[indices]


@dataclass(frozen=True)
class Epoch:
    """What one epoch did: its input size, learning rate, mean loss, share of samples classified right, seconds."""

    size: int
    rate: float
    loss: float
    right: float
    seconds: float


def train(
    architecture: Architecture, samples: Samples, config: TrainingConfig, progress: Progress | None = None
) -> tuple[SppClassifier, list[Epoch]]:
    """Train a network from random weights; it comes back in evaluation mode, with one `Epoch` an epoch.

    The same samples, config and number of threads give the same weights on the same machine. The random state of the
    caller's torch is left as it was.

    Raises:
        ValueError: no samples, or images smaller than the largest input size.
    """
    progress = progress or NoProgress()
    if not len(samples):
        raise ValueError("there are no samples to train on")
    rng = np.random.default_rng(config.seed)
    history: list[Epoch] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = SppClassifier(architecture)
        _initialise(model)
        optimiser = torch.optim.SGD(
            model.parameters(), config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
        model.train()
        progress.start(config.epochs * len(samples), "images")
        for epoch in range(config.epochs):
            progress.note(f"epoch {epoch + 1} of {config.epochs}, {config.size_at(epoch)} pixels")
            history.append(_epoch(model, optimiser, samples, config, epoch, rng, progress))
    return model.eval(), history


def _epoch(
    model: SppClassifier,
    optimiser: torch.optim.Optimizer,
    samples: Samples,
    config: TrainingConfig,
    epoch: int,
    rng: np.random.Generator,
    progress: Progress,
) -> Epoch:
    began = time.monotonic()
    size, rate = config.size_at(epoch), config.rate_at(epoch)
    for group in optimiser.param_groups:
        group["lr"] = rate
    total, right = 0.0, 0
    for indices in _batches(len(samples), config.batch, rng):
        images, labels = samples.batch(indices)
        pixels = varied(random_crops(images, config.sizes[0], rng), config.colour, rng)
        inputs = to_input(pixels, size, model.architecture.normalisation)
        target = torch.from_numpy(np.ascontiguousarray(labels))
        logits = model(inputs)
        loss = nn.functional.cross_entropy(logits, target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach()) * len(indices)
        right += int((logits.argmax(dim=1) == target).sum())
        progress.advance(len(indices))
    count = len(samples)
    return Epoch(size, rate, total / count, right / count, time.monotonic() - began)


def accuracy(model: SppClassifier, samples: Samples, crop: int, size: int, batch: int = 256) -> float:
    """Share of ``samples`` whose class is right, each seen as its centre ``crop`` resized to ``size`` (pixels)."""
    right = 0
    with torch.inference_mode():
        for start in range(0, len(samples), batch):
            images, labels = samples.batch(np.arange(start, min(start + batch, len(samples)), dtype=np.int64))
            margin = (images.shape[1] - crop) // 2
            centre = images[:, margin : margin + crop, margin : margin + crop]
            guess = model(to_input(centre, size, model.architecture.normalisation)).argmax(dim=1).numpy()
            right += int((guess == labels).sum())
    return right / len(samples)


def random_crops(images: ByteImage, side: int, rng: np.random.Generator) -> ByteImage:
    """A square of ``side`` pixels from each of (B, S, S, 3), at random places: (B, side, side, 3)."""
    room = images.shape[1] - side
    if room < 0:
        raise ValueError(f"images of {images.shape[1]} pixels are smaller than the crop of {side}")
    corners = rng.integers(0, room + 1, size=(len(images), 2))
    return np.stack([image[y : y + side, x : x + side] for image, (y, x) in zip(images, corners, strict=True)])


def varied(images: ByteImage, deviation: float, rng: np.random.Generator) -> ByteImage:
    """Each image with a random gain and lift a channel (normal, ``deviation`` as a share of 1 and of 255)."""
    if not deviation:
        return images
    gain = rng.normal(1, deviation, size=(len(images), 1, 1, 3)).astype(np.float32)
    lift = rng.normal(0, 255 * deviation, size=(len(images), 1, 1, 3)).astype(np.float32)
    return np.asarray(np.clip(np.rint(images * gain + lift), 0, 255), dtype=np.uint8)


def to_input(images: ByteImage, size: int, normalisation: Normalisation) -> torch.Tensor:
    """What the network reads: (B, S, S, 3) uint8 normalised and resized (bilinear, antialiased) to ``size``.

    Returns (B, 3, size, size) float32.
    """
    flat = normalisation.apply(images.reshape(-1, images.shape[2], 3)).reshape(images.shape)
    value = torch.from_numpy(np.ascontiguousarray(flat.transpose(0, 3, 1, 2)))
    if images.shape[1] != size:
        value = nn.functional.interpolate(value, (size, size), mode="bilinear", antialias=True)
    return value


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    order = rng.permutation(count).astype(np.int64)
    for start in range(0, count, size):
        yield order[start : start + size]


def _initialise(model: SppClassifier) -> None:
    """Weights with variance 2 / inputs (He et al. 2015) and no bias, so that the ReLUs pass the signal on.

    The last layer starts near 0 (deviation 0.01): every class is as likely as any other.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    nn.init.normal_(model.last.weight, std=0.01)
