"""Several processes that work as one, on one machine or many, as torchrun starts them.

Without torchrun there is one process, and nothing here costs anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

from sppcli.errors import SppError, WorkerKilled
from sppcli.runtime import torchrun

Item = TypeVar("Item")


@dataclass(frozen=True)
class World:
    """``rank``: this process's number among ``size``; ``local``: its number on this machine, and so that of its GPU."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def share(self, count: int) -> tuple[int, int]:
        """This process's rows (first, end) of ``count``; the shares differ by one row at most."""
        return count * self.rank // self.size, count * (self.rank + 1) // self.size

    def total(self, values: list[float], device: torch.device) -> list[float]:
        """Sum each of ``values`` over all processes."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def add_up(self, tensors: list[torch.Tensor]) -> None:
        """Make each of ``tensors``, which are of one kind and device, its sum over all processes, in place."""
        if self.size == 1:
            return
        # One message: most tensors are small.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        end = 0
        for tensor in tensors:
            start, end = end, end + tensor.numel()
            tensor.copy_(flat[start:end].reshape(tensor.shape))

    def gathered(self, items: list[Item]) -> list[Item]:
        """The ``items`` of all processes, the first one's first."""
        if self.size == 1:
            return items
        found: list[Any] = [[]] * self.size
        distributed.all_gather_object(found, items)
        return [item for part in found for item in part]

    def agree(self, value: str) -> None:
        """Check that every process has the same ``value``.

        Raises:
            SppError: they differ, as when processes see different files.
        """
        if self.size == 1:
            return
        found: list[str] = [""] * self.size
        distributed.all_gather_object(found, value)
        if len(set(found)) != 1:
            raise SppError(
                f"the processes do not see the same files ({'; '.join(sorted(set(found)))}); start all of them on one "
                "shared folder"
            )

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            distributed.barrier()


def _join(place: World, backend: str) -> None:
    # torch exports both without saying so.
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    found, *_ = next(iter(rendezvous("env://")))
    # When torchrun starts processes again its store still has the addresses of those that are gone.
    store = PrefixStore(f"spp-{torchrun.attempt()}-{place.size}", found)
    distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.size)


def _is_of_the_others(error: RuntimeError) -> bool:
    """Whether what went wrong is that another process is gone: gloo has no exceptions of its own."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()


@contextmanager
def world(device_type: str) -> Iterator[World]:
    """Join the processes that torchrun started with this one (by gloo, or NCCL on GPUs); otherwise this one is
    alone.

    Raises:
        WorkerKilled: another of them is gone.
    """
    if not torchrun.is_started():
        yield World()
        return
    place = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))
    if place.size == 1:
        yield place
        return
    try:
        _join(place, "nccl" if device_type == "cuda" else "gloo")
        yield place
    except RuntimeError as error:
        if not _is_of_the_others(error):
            raise
        raise WorkerKilled(
            f"process {place.rank + 1} of {place.size} has lost another one; run it again to go on from the last "
            "checkpoint, or let torchrun do so with --max-restarts"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
