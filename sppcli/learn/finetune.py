"""Fine-tuning of the fc layers on pooled regions (paper, section 4.1 "Fine-tuning"); the conv maps never change.

Trained are fc6, fc7 and a new fc8 with one output per class and one for the background. A quarter of each mini-batch
are regions with an IoU of at least 0.5 with an object; the rest have one in [0.1, 0.5). The optimiser is SGD with
momentum; biases learn at twice the rate and do not decay, as in the release. New fc layers, which the paper does not
have, need a fraction of the mini-batches with AdamW (Loshchilov and Hutter 2019). The weights with the lowest loss on
validation regions are kept.

Several processes (`runtime.distributed`) share the regions of each mini-batch: each reads its own, their gradients are
added up, and every process takes the same step. The weights are those of one process, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sppcli.learn.checkpoints import Keeper, Tensors
from sppcli.nets.classifier import SppClassifier
from sppcli.runtime.distributed import World
from sppcli.runtime.progress import NoProgress, Progress
from sppcli.runtime.trackers import Log, Row, rows_of
from sppcli.structures import IntArray

Half = npt.NDArray[np.float16]


USUAL_DECAY = {"sgd": 5e-4, "adamw": 1e-2}


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How to fine-tune.

    Args:
        schedule: (mini-batches, learning rate), one after the other.
        batch: regions per mini-batch.
        optimiser: sgd or adamw.
        momentum: SGD's.
        weight_decay: None for the optimiser's usual one, `USUAL_DECAY`.
        check: mini-batches between two validations.
        seed: decides the draws and the dropout.
    """

    schedule: tuple[tuple[int, float], ...]
    batch: int = 128
    optimiser: str = "sgd"
    momentum: float = 0.9
    weight_decay: float | None = None
    check: int = 200
    seed: int = 0

    @property
    def steps(self) -> int:
        return sum(steps for steps, _ in self.schedule)

    def rate_at(self, step: int) -> float:
        """Learning rate of a mini-batch, counted from 0."""
        for steps, rate in self.schedule:
            if step < steps:
                return rate
            step -= steps
        raise ValueError("the schedule is over")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Windows:
    """Pooled regions: ``features`` (N, bins * C) float16, ``labels`` (N,) int64, 0 for the background.

    ``rows`` (N,) ascending: which regions of a round they are, if others are another process's; None for all of them.
    """

    features: Half
    labels: IntArray
    rows: IntArray | None = None


class Rounds(Protocol):
    """Draws several mini-batches at a time, as pooling a region costs more than training on it."""

    @property
    def batches(self) -> int:
        """Mini-batches per round, all of one size."""

    def draw(self, number: int) -> Windows:
        """Draw the regions of round ``number``, mini-batch after mini-batch; the same number gives the same regions.

        Of several processes each gives its own; together they give each region once.
        """


@dataclass(frozen=True)
class Check:
    """After ``step`` mini-batches: their mean loss since the last check, and loss and error on the validation
    regions."""

    step: int
    rate: float
    loss: float
    validation_loss: float
    validation_error: float


def curves_of(history: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """The curves of a history of `Check`, for a tracker. Before the first mini-batch there is no training loss."""
    names = {"loss": "loss/train", "validation_loss": "loss/validation", "validation_error": "error/validation"}
    shown = [check if check["step"] else {**check, "loss": None} for check in history]
    return rows_of(shown, {**names, "rate": "rate"}, "step")


def tell(log: Log, position: Mapping[str, Any]) -> None:
    """Give the curves so far to the trackers."""
    log.add(curves_of(position["history"]))


@dataclass
class _Position:
    step: int = 0
    loss: float = 0.0
    since: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    history: list[Check] = field(default_factory=list)


def finetune(
    model: SppClassifier,
    rounds: Rounds,
    validation: Windows,
    config: FinetuneConfig,
    *,
    device: torch.device | None = None,
    world: World | None = None,
    keeper: Keeper | None = None,
    progress: Progress | None = None,
) -> tuple[list[Check], int]:
    """Train ``model.fc`` and ``model.last`` in place; the model comes back in evaluation mode.

    The same draws, config and number of threads give the same weights, in one go or resumed. ``validation`` is the same
    in all processes of ``world``.

    Returns:
        The result of each validation, and the step whose weights were kept (0: the first ones).
    """
    device = device or torch.device("cpu")
    progress = progress or NoProgress()
    run = _Run(model.to(device), config, device, world or World())
    if keeper and (kept := keeper.load()):
        run.restore(*kept)
    at = run.at
    run.world.agree(f"mini-batch {at.step} of {config.steps}, {len(validation.labels)} regions to validate on")
    progress.start(config.steps, "mini-batches", at.step)
    if not at.history:
        run.look(validation)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while at.step < config.steps:
            number, first = divmod(at.step, rounds.batches)
            progress.note(f"rate {config.rate_at(at.step):g}, reading proposals")
            drawn = rounds.draw(number)
            progress.note(f"rate {config.rate_at(at.step):g}, best of validation so far {at.best_loss:.3f}")
            for batch in range(first, rounds.batches):
                if at.step == config.steps:
                    break
                run.step(drawn, batch * config.batch)
                milestone = at.step % config.check == 0 or at.step == config.steps
                if milestone:
                    run.look(validation)
                progress.advance()
                if keeper:
                    keeper.save(lambda: asdict(at), run.tensors, milestone=milestone)
    return at.history, run.finish()


class _Run:
    def __init__(self, model: SppClassifier, config: FinetuneConfig, device: torch.device, world: World) -> None:
        self.model, self.config, self.device, self.world = model, config, device, world
        self.head = nn.ModuleDict({**model.fc, "last": model.last})
        weights = [p for name, p in self.head.named_parameters() if name.endswith("weight")]
        biases = [p for name, p in self.head.named_parameters() if name.endswith("bias")]
        decay = USUAL_DECAY[config.optimiser] if config.weight_decay is None else config.weight_decay
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": decay},
            {"params": biases, "weight_decay": 0.0},
        ]
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.SGD(groups, 0.0, config.momentum)
            if config.optimiser == "sgd"
            else torch.optim.AdamW(groups, 0.0)
        )
        self.at = _Position()
        self.best: Tensors = {}

    def step(self, drawn: Windows, start: int) -> None:
        """Learn from the mini-batch that begins with region ``start`` of those drawn."""
        config, at = self.config, self.at
        here = slice(start, start + config.batch)
        if drawn.rows is not None:
            here = slice(*np.searchsorted(drawn.rows, [start, start + config.batch]).tolist())
            self.model.dropout.share = (torch.from_numpy(drawn.rows[here] - start).to(self.device), config.batch)
        rate = config.rate_at(at.step)
        for group, factor in zip(self.optimiser.param_groups, (1, 2), strict=True):
            group["lr"] = rate * factor
        self.model.train()
        torch.manual_seed(int(np.random.SeedSequence((config.seed, at.step)).generate_state(1)[0]))
        logits = self.model.classify(torch.from_numpy(drawn.features[here]).to(self.device).float())
        labels = torch.from_numpy(drawn.labels[here]).to(self.device)
        # A mean over the whole mini-batch, of which there may be no region here.
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum") / config.batch
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.world.add_up([parameter.grad for parameter in self.head.parameters() if parameter.grad is not None])
        self.optimiser.step()
        (whole,) = self.world.total([float(loss.detach())], self.device)
        at.step, at.loss, at.since = at.step + 1, at.loss + whole, at.since + 1

    def look(self, validation: Windows) -> None:
        """Validate the weights, and keep them if they are the best so far."""
        at = self.at
        loss, error = judge(self.model, validation, self.device, self.world)
        rate = self.config.rate_at(max(0, at.step - 1))
        at.history.append(Check(at.step, rate, at.loss / max(1, at.since), loss, error))
        at.loss, at.since = 0.0, 0
        if loss < at.best_loss:
            at.best_loss, at.best_step = loss, at.step
            self.best = {name: tensor.detach().clone() for name, tensor in self.head.state_dict().items()}

    def finish(self) -> int:
        self.head.load_state_dict(self.best)
        self.model.cpu().eval()
        return self.at.best_step

    def tensors(self) -> Tensors:
        tensors = {f"now.{name}": tensor for name, tensor in self.head.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.head.named_parameters():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                if value is not None:
                    tensors[f"{key}.{name}"] = value
        return tensors

    def restore(self, position: Mapping[str, Any], tensors: Tensors) -> None:
        history = [Check(**check) for check in position["history"]]
        self.at = _Position(**{**position, "history": history})
        self.head.load_state_dict(_named(tensors, "now."))
        self.best = {name: tensor.to(self.device) for name, tensor in _named(tensors, "best.").items()}
        for name, parameter in self.head.named_parameters():
            for key in ("momentum_buffer", "exp_avg", "exp_avg_sq", "step"):
                if f"{key}.{name}" in tensors:
                    value = tensors[f"{key}.{name}"]
                    # AdamW counts its steps on the CPU.
                    self.optimiser.state[parameter][key] = value if key == "step" else value.to(self.device)


def _named(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@torch.inference_mode()
def judge(
    model: SppClassifier, windows: Windows, device: torch.device, world: World | None = None
) -> tuple[float, float]:
    """Mean cross-entropy and share of wrong labels on ``windows``; leaves the model in evaluation mode.

    The processes of ``world`` share the work.
    """
    model.eval()
    world = world or World()
    loss, wrong = 0.0, 0
    first, end = world.share(len(windows.labels))
    for start in range(first, end, 512):
        rows = slice(start, min(start + 512, end))
        labels = torch.from_numpy(windows.labels[rows]).to(device)
        logits = model.classify(torch.from_numpy(windows.features[rows]).to(device).float())
        loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        wrong += int((logits.argmax(dim=1) != labels).sum())
    loss, errors = world.total([loss, float(wrong)], device)
    return loss / len(windows.labels), errors / len(windows.labels)


@dataclass(frozen=True)
class Candidates:
    """Regions that may be drawn: ``image`` and ``window`` (N,) identify them, ``labels`` (N,) are their classes."""

    image: IntArray
    window: IntArray
    labels: IntArray

    def take(self, rows: IntArray) -> Candidates:
        return Candidates(self.image[rows], self.window[rows], self.labels[rows])

    @classmethod
    def join(cls, parts: Sequence[Candidates]) -> Candidates:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("image", "window", "labels")))


def draw_round(
    foreground: Candidates,
    background: Candidates,
    batch: int,
    batches: int,
    rng: np.random.Generator,
    evenly: bool = False,
) -> Candidates:
    """Draw ``batches`` mini-batches of ``batch`` regions, a quarter of each from the foreground.

    As in the release, none is drawn twice as long as there are enough. Small data sets, where the release's draw fails,
    go through all of their regions again in another order. ``evenly``: each class has an equal part of the foreground,
    however few regions show it.
    """
    part = max(1, round(0.25 * batch)) if len(background.labels) else batch
    wanted = part * batches
    laps = _even_laps(foreground.labels, wanted, rng) if evenly else _laps(len(foreground.labels), wanted, rng)
    objects = foreground.take(laps)
    if not len(background.labels):
        return objects
    rest = background.take(_laps(len(background.labels), (batch - part) * batches, rng))
    both = Candidates.join([objects, rest])
    index = np.concatenate(
        [
            np.arange(part * batches).reshape(batches, part),
            part * batches + np.arange((batch - part) * batches).reshape(batches, batch - part),
        ],
        axis=1,
    )
    return both.take(index.ravel())


def _laps(count: int, wanted: int, rng: np.random.Generator) -> IntArray:
    laps = [rng.permutation(count) for _ in range(-(-wanted // count))]
    return np.concatenate(laps)[:wanted].astype(np.int64)


def _even_laps(labels: IntArray, wanted: int, rng: np.random.Generator) -> IntArray:
    """Draw rows of ``labels`` (N,), taking the classes in turn."""
    present = np.unique(labels)
    each = -(-wanted // len(present))
    rows = [np.flatnonzero(labels == label) for label in present]
    return np.stack([mine[_laps(len(mine), each, rng)] for mine in rows], axis=1).ravel()[:wanted]
