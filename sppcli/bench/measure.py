"""A measurement: seconds, the floor that arithmetic and memory set on this machine, and a peer's seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sppcli.features.conv_maps import choose_precision
from sppcli.runtime.cpus import cpu_threads


@dataclass(frozen=True)
class Machine:
    """Rates of this machine with all of ``threads``, the best of several runs.

    ``products``: multiply-adds per second of a large matrix product, by precision (bf16 only where the processor has
    it). ``copies``: bytes per second, read and written, of a copy far larger than the caches.
    """

    threads: int
    products: Mapping[str, float]
    copies: float

    def floor(self, multiply_adds: float = 0.0, moved: float = 0.0, precision: str = "fp32") -> float:
        """Seconds below which no program gets: the larger of the arithmetic's and the ``moved`` bytes' time."""
        return max(multiply_adds / self.products[precision], moved / self.copies)


@dataclass(frozen=True)
class Row:
    """One line of the table. ``what`` says on what input; all times in seconds, of the whole input.

    ``floor`` and ``peer_seconds`` None where there is none; ``floor_of`` says what is counted in it, ``peer`` whose
    time it is compared with, on the same input in the same run.
    """

    stage: str
    what: str
    seconds: float
    floor: float | None = None
    floor_of: str = ""
    peer: str = ""
    peer_seconds: float | None = None

    @property
    def over_floor(self) -> float | None:
        return self.seconds / self.floor if self.floor else None

    @property
    def faster_than_peer(self) -> float | None:
        return self.peer_seconds / self.seconds if self.peer_seconds else None


def alternated(functions: Mapping[str, Callable[[], Any]], repeat: int = 3, warm: bool = True) -> dict[str, float]:
    """Seconds of each function: the fastest of ``repeat`` runs, taken in turn so that noise falls on all alike."""
    if warm:
        for function in functions.values():
            function()
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(repeat):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def this_machine(repeat: int = 5) -> Machine:
    """Measure the rates; takes a few seconds."""
    threads = cpu_threads()
    torch.set_num_threads(threads)
    products = {"fp32": _product_rate(torch.float32, repeat)}
    if choose_precision("auto", torch.device("cpu")) == "bf16":
        products["bf16"] = _product_rate(torch.bfloat16, repeat)
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    seconds = alternated({"copy": lambda: target.copy_(source)}, repeat)["copy"]
    return Machine(threads, products, 2 * source.nbytes / seconds)


def _product_rate(kind: torch.dtype, repeat: int) -> float:
    side = 2048
    random = np.random.default_rng(0)
    left, right = (torch.from_numpy(random.random((side, side), np.float32)).to(kind) for _ in range(2))
    return side**3 / alternated({"product": lambda: left @ right}, repeat)["product"]
