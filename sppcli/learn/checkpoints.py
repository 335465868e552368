"""Checkpoints of a running training: weights, momentum and position in one safetensors file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from sppcli.errors import BadInput, UsageProblem
from sppcli.nets.weight_files import read_tensors, save_tensors
from sppcli.runtime import torchrun
from sppcli.runtime.files import check_room, checkpoint_of
from sppcli.runtime.options import RunOptions

Tensors = dict[str, torch.Tensor]

_KEY = "spp_checkpoint"


class Keeper(Protocol):
    """Keeps checkpoints of a training. A position is JSON whose meaning is known to the training alone."""

    def load(self) -> tuple[dict[str, Any], Tensors] | None:
        """Return the checkpoint to go on from, or None to begin."""

    def save(self, position: Callable[[], dict[str, Any]], tensors: Callable[[], Tensors], *, milestone: bool) -> None:
        """Called after every step; `load` must return both values. ``milestone``: an epoch or a check has ended."""


class Checkpoints:
    """A `Keeper` in the file ``path``, written at most every ``seconds``.

    Args:
        path: the checkpoint file; its folder must exist.
        fingerprint: digest of all that decides the training; a file with another one is not used.
        seconds: time between two writes; 0 writes after every step.
        writes: False in processes that only read, where several train together.
        on_milestone: called with the position at each milestone.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        seconds: float = 60.0,
        writes: bool = True,
        on_milestone: Callable[[dict[str, Any]], None] = lambda position: None,
    ) -> None:
        self.path, self.fingerprint, self.seconds, self.writes = path, fingerprint, seconds, writes
        self.on_milestone = on_milestone
        self._written = time.monotonic()

    @classmethod
    def beside(
        cls,
        output: Path,
        fingerprint: str,
        seconds: float,
        model: torch.nn.Module,
        options: RunOptions,
        writes: bool = True,
        on_milestone: Callable[[dict[str, Any]], None] = lambda position: None,
    ) -> Checkpoints:
        """The checkpoints of the training that is to write ``model`` to ``output``.

        With --force it begins anew, but for processes that torchrun starts again: those go on with what was begun.

        Raises:
            NoRoom: the disk has no room for the network.
        """
        keeper = cls(checkpoint_of(output), fingerprint, seconds, writes, on_milestone)
        if options.force and not torchrun.attempt():
            keeper.discard()
        size = sum(value.nbytes for value in model.state_dict().values())
        # A checkpoint has the momentum too, and is there until the network is.
        if warning := check_room(output, size, 3 * size):
            options.progress.warn(warning)
        return keeper

    def load(self) -> tuple[dict[str, Any], Tensors] | None:
        """Return the checkpoint of an interrupted training, if there is one.

        Raises:
            UsageProblem: it was made with other settings, another network or other images.
            BadInput: the file is damaged.
        """
        if not self.path.exists():
            return None
        tensors, metadata = read_tensors(self.path, "start anew with --force", ours=True)
        try:
            kept = json.loads(metadata[_KEY])
            position = dict(kept["position"])
            same = kept["fingerprint"] == self.fingerprint
        except (KeyError, TypeError, ValueError):
            raise BadInput(f"{self.path}: not a checkpoint, or a damaged one; start anew with --force") from None
        if not same:
            raise UsageProblem(
                f"{self.path} belongs to a training with other options or images; repeat those to go on with it, "
                "start anew with --force, or name another -o"
            )
        return position, tensors

    def save(self, position: Callable[[], dict[str, Any]], tensors: Callable[[], Tensors], *, milestone: bool) -> None:
        if not self.writes:
            return
        if time.monotonic() - self._written >= self.seconds:
            kept = {"fingerprint": self.fingerprint, "position": position()}
            save_tensors(self.path, tensors(), {_KEY: json.dumps(kept)})
            self._written = time.monotonic()
        if milestone:
            self.on_milestone(position())

    def discard(self) -> None:
        """Remove the checkpoint: the training is over, or begins anew."""
        if self.writes:
            self.path.unlink(missing_ok=True)
