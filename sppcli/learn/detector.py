"""Training of a detector as one network: softmax and box regression together, gradients through the RoI pooling.

The loss is Fast R-CNN's: cross-entropy over all RoIs, and smooth L1 of the regression targets of those that show an
object, both divided by the number of RoIs. AdamW (Loshchilov and Hutter 2019); the learning rate rises during a warm-up
and then falls as half a cosine.

A step learns from ``images`` images. Several processes share these: the sums of their gradients are those of one
process, to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from sppcli.errors import UsageProblem
from sppcli.learn.checkpoints import Keeper, Tensors
from sppcli.learn.multisize import Machinery
from sppcli.nets.detector import SppDetector
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.progress import Progress


@dataclass(frozen=True, kw_only=True)
class DetectorTraining:
    """How to train.

    ``images``: of a step; ``trunk_rate``: the trunk's share of ``rate``; ``clip``: greatest norm of the gradient.
    """

    epochs: int = 6
    images: int = 1
    rate: float = 4e-4
    trunk_rate: float = 0.3
    weight_decay: float = 0.01
    warm_up: int = 60
    clip: float = 5.0

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of ``step`` of ``steps``, counted from 0."""
        return self.rate * min(1.0, (step + 1) / self.warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class Example:
    """One image and its RoIs.

    ``image`` (1, 3, H, W) float32, normalised; ``rois`` (N, 4) float32 in its pixels; ``labels`` (N,) int64, 0 for the
    background; ``targets`` (N, 4) float32, scaled, read where the label is not 0.
    """

    image: torch.Tensor
    rois: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class DetectorEpoch:
    """Mean losses of an epoch, and mAP on the validation images by 11 points and by area, if there are any."""

    rate: float
    class_loss: float
    box_loss: float
    seconds: float
    map_11: float | None = None
    map_area: float | None = None


@dataclass
class _Position:
    step: int = 0
    class_loss: float = 0.0
    box_loss: float = 0.0
    seconds: float = 0.0
    history: list[DetectorEpoch] = field(default_factory=list)


def losses(model: SppDetector, example: Example, autocast: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy and smooth L1 of one image, both over all of its RoIs."""
    with torch.autocast(example.image.device.type, torch.bfloat16, enabled=autocast):
        maps = model.maps(example.image)
    logits, boxes = model.classify(maps, example.rois)
    shown = torch.nonzero(example.labels)[:, 0]
    mine = boxes[shown, example.labels[shown] - 1]
    box_loss = nn.functional.smooth_l1_loss(mine, example.targets[shown], reduction="sum") / len(example.labels)
    return nn.functional.cross_entropy(logits, example.labels), box_loss


def train_detector(
    model: SppDetector,
    trunk: list[nn.Parameter],
    draw: Callable[[int], Example],
    epoch_images: int,
    config: DetectorTraining,
    progress: Progress,
    *,
    on: Machinery,
    keeper: Keeper | None = None,
    look: Callable[[SppDetector], tuple[float | None, float | None]] | None = None,
) -> list[DetectorEpoch]:
    """Train ``model`` in place; it comes back in evaluation mode on the CPU.

    Args:
        trunk: the parameters of the trunk that learn.
        draw: the example of a number, counted through all epochs; the same number gives the same example, so that a
            training that goes on from a checkpoint, or is spread over processes, is the same training.
        epoch_images: examples in an epoch.
        look: mAP on validation images, after each epoch; decides nothing.

    Raises:
        UsageProblem: fewer images in a step than processes.
    """
    if config.images < on.world.size:
        raise UsageProblem(
            f"{on.world.size} processes cannot share steps of {config.images} image{'s' * (config.images > 1)}; give "
            f"--images-per-step {on.world.size} or more, or start fewer processes"
        )
    run = _Run(model, trunk, config, epoch_images, on)
    if keeper and (kept := keeper.load()):
        run.restore(*kept)
    at, steps = run.at, run.steps
    on.world.agree(f"step {at.step} of {steps}")
    progress.start(steps, "steps", at.step)
    mark = time.monotonic()
    numbers = (number for step in range(at.step, steps) for number in run.share(step)[0])
    with closing(prefetch(draw, numbers, ahead=2)) as drawn:
        while at.step < steps:
            mine, total = run.share(at.step)
            run.step([next(drawn) for _ in mine], total)
            now = time.monotonic()
            at.seconds, mark = at.seconds + now - mark, now
            over = at.step % run.epoch_steps == 0
            if over:
                progress.note(f"epoch {at.step // run.epoch_steps} of {config.epochs}{', validating' * bool(look)}")
                run.close_epoch(look(model.eval()) if look else (None, None))
                mark = time.monotonic()
            progress.advance()
            if keeper:
                keeper.save(lambda: asdict(at), run.tensors, milestone=over)
    model.cpu().eval()
    return at.history


class _Run:
    def __init__(
        self,
        model: SppDetector,
        trunk: list[nn.Parameter],
        config: DetectorTraining,
        epoch_images: int,
        on: Machinery,
    ) -> None:
        self.model = model.to(on.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config, self.epoch_images, self.on = config, epoch_images, on
        self.epoch_steps = -(-epoch_images // config.images)
        self.steps = config.epochs * self.epoch_steps
        self.at = _Position()
        mine = {id(parameter) for parameter in trunk}
        self.learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        # Trunk or not, decaying (weights) or not (biases).
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.learning.items():
            groups.setdefault((id(parameter) in mine, name.endswith("bias")), []).append(parameter)
        self.shares = [config.trunk_rate if of_trunk else 1.0 for of_trunk, _ in groups]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": parameters, "weight_decay": 0.0 if bias else config.weight_decay}
                for (_, bias), parameters in groups.items()
            ],
            0.0,
        )

    def share(self, step: int) -> tuple[range, int]:
        """The examples of ``step`` that are this process's, perhaps none, and how many there are in all."""
        epoch, place = divmod(step, self.epoch_steps)
        first = place * self.config.images
        total = min(self.config.images, self.epoch_images - first)
        begin, end = self.on.world.share(total)
        return range(epoch * self.epoch_images + first + begin, epoch * self.epoch_images + first + end), total

    def step(self, examples: list[Example], total: int) -> None:
        """Learn from this process's ``examples`` of a step of ``total`` ones."""
        config, at, on = self.config, self.at, self.on
        for group, share in zip(self.optimiser.param_groups, self.shares, strict=True):
            group["lr"] = share * config.rate_at(at.step, self.steps)
        self.model.train()
        self.optimiser.zero_grad()
        sums = [0.0, 0.0]
        for example in examples:
            here = Example(*(getattr(example, name).to(on.device) for name in ("image", "rois", "labels", "targets")))
            parts = losses(self.model, here, on.autocast)
            ((parts[0] + parts[1]) / total).backward()  # type: ignore[no-untyped-call]
            sums = [so_far + float(part.detach()) for so_far, part in zip(sums, parts, strict=True)]
        if on.world.size > 1:
            for parameter in self.learning.values():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            on.world.add_up([parameter.grad for parameter in self.learning.values() if parameter.grad is not None])
        nn.utils.clip_grad_norm_(self.learning.values(), config.clip)
        self.optimiser.step()
        class_loss, box_loss = on.world.total(sums, on.device)
        at.step, at.class_loss, at.box_loss = at.step + 1, at.class_loss + class_loss, at.box_loss + box_loss

    def close_epoch(self, found: tuple[float | None, float | None]) -> None:
        at, count = self.at, self.epoch_images
        rate = self.config.rate_at(at.step - 1, self.steps)
        at.history.append(DetectorEpoch(rate, at.class_loss / count, at.box_loss / count, at.seconds, *found))
        at.class_loss = at.box_loss = at.seconds = 0.0

    def tensors(self) -> Tensors:
        tensors = {f"now.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.learning.items():
            tensors |= {f"{key}.{name}": value for key, value in self.optimiser.state[parameter].items()}
        return tensors

    def restore(self, position: dict[str, Any], tensors: Tensors) -> None:
        history = [DetectorEpoch(**epoch) for epoch in position["history"]]
        self.at = _Position(**{**position, "history": history})
        named = {name.removeprefix("now."): value for name, value in tensors.items() if name.startswith("now.")}
        self.model.load_state_dict(named)
        for name, parameter in self.learning.items():
            # AdamW counts its steps on the CPU.
            self.optimiser.state[parameter] = {
                "step": tensors[f"step.{name}"],
                **{key: tensors[f"{key}.{name}"].to(self.on.device) for key in ("exp_avg", "exp_avg_sq")},
            }
