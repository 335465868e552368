"""Multi-size training of an SPP classifier (paper, section 2.3 and "Training the classifier").

The network is trained a full epoch at one input size, the next epoch at the other, sharing every weight: the
pyramid's vector has the same length at both. The smaller image is the same crop resized, not a smaller crop, so that
both sizes show the same things. SGD with momentum.

Everything random in a step is drawn from the seed, the epoch and the step's number: a training that goes on from a
checkpoint, or is spread over processes, is the same training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from sppcli.learn.augment import Draws, draw
from sppcli.learn.checkpoints import Keeper, Tensors
from sppcli.learn.loading import Batch, Samples, batches
from sppcli.learn.schedule import Plateau, TrainingConfig
from sppcli.nets.classifier import Architecture, SppClassifier
from sppcli.nets.pixels import to_input
from sppcli.runtime.distributed import World
from sppcli.runtime.progress import NoProgress, Progress
from sppcli.structures import IntArray


@dataclass(frozen=True)
class Epoch:
    """The record of one epoch.

    Its input size, learning rate, mean loss, share of training samples classified right, error on the validation
    samples (None without), seconds, and how many of them were spent waiting for images.
    """

    size: int
    rate: float
    loss: float
    right: float
    validation_error: float | None
    seconds: float
    waited: float


@dataclass
class Position:
    """How far a training is: ``epoch`` and ``step`` next to do, the epoch's sums so far, what went before."""

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    right: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    plateau: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Position:
        return cls(**{**value, "history": [Epoch(**item) for item in value["history"]]})


@dataclass(frozen=True)
class Machinery:
    """What a training runs on. ``autocast``: whether convolutions and matrix products run in bfloat16."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    autocast: bool = False
    world: World = field(default_factory=World)


def train(
    architecture: Architecture,
    samples: Samples,
    config: TrainingConfig,
    progress: Progress | None = None,
    *,
    validation: Samples | None = None,
    initial: Mapping[str, torch.Tensor] | None = None,
    keeper: Keeper | None = None,
    on: Machinery | None = None,
) -> tuple[SppClassifier, list[Epoch]]:
    """Train a network; it is returned in evaluation mode, with a record of each epoch.

    The same samples, config and number of threads give the same weights on the same machine, in one go or resumed. The
    random state of the caller's torch is left as it was.

    Args:
        architecture: the network's; its ``input_size`` is the first of ``config.sizes``.
        samples: the images to train on.
        config: how to train.
        progress: told of each image.
        validation: images whose error steers the plateau schedule; without them the training loss does.
        initial: weights to start from, by name, in place of random ones.
        keeper: resumes and keeps checkpoints.
        on: device, precision, processes.

    Raises:
        ValueError: no samples, or images smaller than the largest input size.
    """
    on = on or Machinery()
    if not len(samples.labels):
        raise ValueError("there are no samples to train on")
    devices = [on.device] if on.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(config.seed)
        model = SppClassifier(architecture)
        initialise(model)
        if initial:
            # Weights that are not given keep their random start.
            model.load_state_dict(dict(initial), strict=False)
        training = _Training(model, samples, config, validation, keeper, on, progress or NoProgress())
        history = training.run()
    return model.cpu().eval(), history


class _Training:
    """One running training."""

    def __init__(
        self,
        model: SppClassifier,
        samples: Samples,
        config: TrainingConfig,
        validation: Samples | None,
        keeper: Keeper | None,
        on: Machinery,
        progress: Progress,
    ) -> None:
        self.samples, self.config, self.validation, self.keeper = samples, config, validation, keeper
        self.on, self.progress = on, progress
        self.model = model.to(on.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.SGD(
            model.parameters(), config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
        kept = keeper.load() if keeper else None
        self.at = Position()
        if kept:
            self.at, tensors = Position.from_json(kept[0]), kept[1]
            self._restore(tensors)
        on.world.agree(f"epoch {self.at.epoch}, step {self.at.step}, {len(samples.labels)} images")
        self.parallel: nn.Module = self.model
        if on.world.size > 1:
            self.parallel = nn.parallel.DistributedDataParallel(self.model)
        self.plateau = Plateau(config.patience, 1 if config.drawn else len(config.sizes))
        if self.at.plateau:
            self.plateau = Plateau(**self.at.plateau)

    def run(self) -> list[Epoch]:
        config, count = self.config, len(self.samples.labels)
        self.progress.start(config.epochs * count, "images", self.at.epoch * count + self.at.step * config.batch)
        while self.at.epoch < config.epochs and not (config.schedule == "plateau" and self.plateau.over):
            self._epoch()
        return self.at.history

    def _epoch(self) -> None:
        config, at = self.config, self.at
        size = config.size_at(at.epoch)
        rate = config.step_rate(at.epoch)
        if config.schedule == "plateau":
            rate = config.learning_rate * self.plateau.factor()
        self.progress.note(f"epoch {at.epoch + 1} of {config.epochs}, {size} pixels, rate {rate:g}")
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.parallel.train()
        shares = self._shares()
        with closing(batches(self.samples, self._work(shares), config.sizes[0])) as loaded:
            mark = time.monotonic()
            for share, batch in zip(shares[at.step :], loaded, strict=True):
                at.waited += time.monotonic() - mark
                loss, right = self._step(batch, share, size)
                at.loss, at.right, at.step = at.loss + loss, at.right + right, at.step + 1
                at.seconds += time.monotonic() - mark
                self.progress.advance(share.total)
                if self.keeper:
                    self.keeper.save(at.to_json, self._tensors, milestone=False)
                mark = time.monotonic()
        self._close_epoch(size, rate)

    def _close_epoch(self, size: int, rate: float) -> None:
        config, at, count = self.config, self.at, len(self.samples.labels)
        loss, right = at.loss / count, at.right / count
        error = None
        if self.validation is not None:
            error = 1 - accuracy(self.model, self.validation, config.sizes[0], config.sizes[0], on=self.on)
        at.history.append(Epoch(size, rate, loss, right, error, at.seconds, at.waited))
        self.plateau.record(loss if error is None else error)
        at.plateau = asdict(self.plateau)
        at.epoch, at.step, at.loss, at.right, at.seconds, at.waited = at.epoch + 1, 0, 0.0, 0.0, 0.0, 0.0
        if self.keeper:
            self.keeper.save(at.to_json, self._tensors, milestone=True)

    def _shares(self) -> list[_Share]:
        """This process's rows of each batch of an epoch."""
        count, batch = len(self.samples.labels), self.config.batch
        totals = [min(batch, count - start) for start in range(0, count, batch)]
        return [_Share(*self.on.world.share(total), total) for total in totals]

    def _work(self, shares: list[_Share]) -> Iterator[tuple[IntArray, Draws]]:
        """Sample indices and random choices of this process's rows, from the next step to the epoch's end."""
        config, at = self.config, self.at
        order = np.random.default_rng((config.seed, at.epoch)).permutation(len(self.samples.labels)).astype(np.int64)
        for step in range(at.step, len(shares)):
            share = shares[step]
            rng = np.random.default_rng((config.seed, at.epoch, step))
            draws = draw(
                share.total, rng, crop=config.crop, flip=config.flip, colour=config.colour, strength=config.strength
            )
            rows = share.rows
            indices = order[step * config.batch :][rows]
            yield indices, Draws(draws.at[rows], draws.flipped[rows], draws.gain[rows], draws.lift[rows])

    def _step(self, batch: Batch, share: _Share, size: int) -> tuple[float, float]:
        """One step; returns the sum of the losses and the number of samples right, over the whole batch."""
        on, at = self.on, self.at
        pixels, target, gain, lift = (
            torch.from_numpy(values).to(on.device, non_blocking=True)
            for values in (batch.images, batch.labels, batch.draws.gain, batch.draws.lift)
        )
        inputs = to_input(pixels, self.model.architecture.normalisation, size, gain, lift)
        torch.manual_seed(int(np.random.SeedSequence((self.config.seed, at.epoch, at.step)).generate_state(1)[0]))
        self.model.dropout.share = (share.rows, share.total)
        with torch.autocast(on.device.type, torch.bfloat16, enabled=on.autocast):
            logits = self.parallel(inputs)
        # A mean over the whole batch: gradients are averaged over processes, whose shares may differ by a row.
        loss = nn.functional.cross_entropy(logits.float(), target, reduction="sum") * share.weight
        self.optimiser.zero_grad()
        (loss * (on.world.size / share.total)).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        right = float((logits.argmax(dim=1) == target).sum()) * share.weight
        total_loss, total_right = on.world.total([float(loss.detach()), right], on.device)
        return total_loss, total_right

    def _tensors(self) -> Tensors:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            momentum = self.optimiser.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        return tensors

    def _restore(self, tensors: Tensors) -> None:
        prefix = "model."
        self.model.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for name, parameter in self.model.named_parameters():
            if f"momentum.{name}" in tensors:
                buffer = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
                self.optimiser.state[parameter]["momentum_buffer"] = buffer.detach()


@dataclass(frozen=True)
class _Share:
    """Rows ``first`` to ``end`` of a batch of ``total``: one process's."""

    first: int
    end: int
    total: int

    @property
    def rows(self) -> slice:
        """Never empty, as layers want at least one row; see `weight`."""
        return slice(self.first, self.end) if self.end > self.first else slice(0, 1)

    @property
    def weight(self) -> float:
        """0 where this process has no row of its own and works on another's."""
        return float(self.end > self.first)


def accuracy(
    model: SppClassifier, samples: Samples, crop: int, size: int, batch: int = 256, on: Machinery | None = None
) -> float:
    """Share of ``samples`` whose class is right, each seen as its centre ``crop`` resized to ``size`` (pixels).

    With several processes each counts its part; the model is left in evaluation mode.
    """
    on = on or Machinery()
    model.eval()
    count = len(samples.labels)
    first, end = on.world.share(count)
    work = [(np.arange(start, min(start + batch, end), dtype=np.int64), None) for start in range(first, end, batch)]
    right = 0
    with torch.inference_mode(), closing(batches(samples, work, crop)) as loaded:
        for item in loaded:
            inputs = to_input(torch.from_numpy(item.images).to(on.device), model.architecture.normalisation, size)
            with torch.autocast(on.device.type, torch.bfloat16, enabled=on.autocast):
                guess = model(inputs).argmax(dim=1).cpu().numpy()
            right += int((guess == item.labels).sum())
    return on.world.total([float(right)], on.device)[0] / count


def initialise(model: SppClassifier) -> None:
    """Weights with variance 2 / inputs (He et al. 2015) and no bias, so that the ReLUs pass the signal on.

    The last layer starts near 0 (deviation 0.01): every class is as likely as any other.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    nn.init.normal_(model.last.weight, std=0.01)
