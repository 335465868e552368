"""Training of a detector as one network: softmax and box regression together, gradients through the RoI pooling.

The loss is Fast R-CNN's: cross-entropy over all RoIs, and smooth L1 of the regression targets of those that show an
object, both divided by the number of RoIs. AdamW (Loshchilov and Hutter 2019); the learning rate rises during a warm-up
and then falls as half a cosine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from sppcli.learn.checkpoints import Keeper, Tensors
from sppcli.nets.detector import SppDetector
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.progress import Progress


@dataclass(frozen=True, kw_only=True)
class DetectorTraining:
    """How to train. ``trunk_rate``: the trunk's share of ``rate``; ``clip``: greatest norm of the gradient."""

    epochs: int = 6
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
    """Cross-entropy and smooth L1 of one image."""
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
    epoch_steps: int,
    config: DetectorTraining,
    progress: Progress,
    *,
    device: torch.device,
    autocast: bool,
    keeper: Keeper | None = None,
    look: Callable[[SppDetector], tuple[float | None, float | None]] | None = None,
) -> list[DetectorEpoch]:
    """Train ``model`` in place; it comes back in evaluation mode on the CPU.

    Args:
        trunk: the parameters of the trunk that learn.
        draw: the example of a step; the same number gives the same example, so that a training that goes on from
            a checkpoint is the same training.
        epoch_steps: steps in an epoch.
        look: mAP on validation images, after each epoch; decides nothing.
    """
    run = _Run(model, trunk, config, epoch_steps, device, autocast)
    if keeper and (kept := keeper.load()):
        run.restore(*kept)
    at, steps = run.at, config.epochs * epoch_steps
    progress.start(steps, "steps", at.step)
    mark = time.monotonic()
    for example in prefetch(draw, range(at.step, steps), ahead=2):
        run.step(example, steps)
        now = time.monotonic()
        at.seconds, mark = at.seconds + now - mark, now
        over = at.step % epoch_steps == 0
        if over:
            progress.note(f"epoch {at.step // epoch_steps} of {config.epochs}, validating")
            run.close_epoch(look(model.eval()) if look else (None, None), steps)
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
        epoch_steps: int,
        device: torch.device,
        autocast: bool,
    ) -> None:
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config, self.epoch_steps, self.device, self.autocast = config, epoch_steps, device, autocast
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

    def step(self, example: Example, steps: int) -> None:
        config, at = self.config, self.at
        for group, share in zip(self.optimiser.param_groups, self.shares, strict=True):
            group["lr"] = share * config.rate_at(at.step, steps)
        self.model.train()
        here = Example(*(getattr(example, name).to(self.device) for name in ("image", "rois", "labels", "targets")))
        class_loss, box_loss = losses(self.model, here, self.autocast)
        self.optimiser.zero_grad()
        (class_loss + box_loss).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.learning.values(), config.clip)
        self.optimiser.step()
        at.step += 1
        at.class_loss += float(class_loss.detach())
        at.box_loss += float(box_loss.detach())

    def close_epoch(self, found: tuple[float | None, float | None], steps: int) -> None:
        at, count = self.at, self.epoch_steps
        rate = self.config.rate_at(at.step - 1, steps)
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
                **{key: tensors[f"{key}.{name}"].to(self.device) for key in ("exp_avg", "exp_avg_sq")},
            }
