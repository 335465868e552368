"""``python -m tests.fuzz --minutes 10 --seed 1``: as many changed files as fit into the time, to every reader in turn.

Inputs are read by child processes, so that one that crashes is found and named like the others. What is found lies in
``--found`` as the file that was read, beside its traceback; the same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import collections
import mmap
import os
import re
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.fuzz.harness import fault, input_of
from tests.fuzz.targets import Target, targets

BATCH = 2000
MEMORY = 6 << 30
HANGS = 120


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--inputs", type=int, default=10**9, help="end after so many")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--targets", default="", help="a regular expression; default: all")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory(prefix="spp-fuzz-") as folder:
        everything = targets(Path(folder))
        chosen = [target for name, target in everything.items() if re.search(given.targets, name)]
        print(f"seed {given.seed}: {len(chosen)} readers, {given.minutes:g} minutes", flush=True)
        run = Run(chosen, given.seed, given.found, end, given.inputs)
        while run.goes_on():
            run.batch()
    print(run.summary())
    return 1 if run.faults else 0


class Run:
    def __init__(self, chosen: list[Target], seed: int, found: Path, end: float, inputs: int) -> None:
        self.chosen, self.seed, self.found, self.end, self.inputs = chosen, seed, found, end, inputs
        self.began = time.monotonic()
        self.next = 0
        self.done = 0
        self.faults: collections.Counter[str] = collections.Counter()
        # Number of the input being read, inputs read, and when it began: what a child that crashes leaves behind.
        self.shared = mmap.mmap(-1, 24)

    def goes_on(self) -> bool:
        return time.monotonic() < self.end and self.done < self.inputs

    def batch(self) -> None:
        first = self.next
        read, write = os.pipe()
        self._tell(first, self.done)
        child = os.fork()
        if not child:
            os.close(read)
            self._child(first, write)
            os._exit(0)
        os.close(write)
        with os.fdopen(read, encoding="utf-8", errors="replace") as lines:
            status = self._wait(child)
            told = lines.read()
        number, done, _ = struct.unpack("<qqd", self.shared)
        self.done, self.next = done, number + 1
        for kind in told.splitlines():
            self.faults[kind] += 1
            print(f"found: {kind}", flush=True)
        if status:
            target = self.chosen[number % len(self.chosen)]
            how = "no end" if status == -1 else f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "exit"
            self._keep(target, number, f"{target.name}: {how}")
            self.faults[f"{target.name}: {how}"] += 1
            print(f"found: {target.name}: {how}, input {number}", flush=True)
            target.file.write_bytes(target.seed)

    def _wait(self, child: int) -> int:
        while True:
            gone, status = os.waitpid(child, os.WNOHANG)
            if gone:
                return status
            if time.monotonic() - struct.unpack("<qqd", self.shared)[2] > HANGS:
                os.kill(child, 9)
                os.waitpid(child, 0)
                return -1
            time.sleep(0.05)

    def _child(self, first: int, write: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        done = self.done
        for number in range(first, first + BATCH):
            if time.monotonic() > self.end or done >= self.inputs:
                break
            target = self.chosen[number % len(self.chosen)]
            self._tell(number, done)
            if (number // len(self.chosen)) % target.every:
                continue
            problem = fault(target, input_of(target, f"{self.seed} {number}"))
            done += 1
            if problem:
                kind = f"{target.name}: {' '.join(problem.strip().splitlines()[-1].split())[:150]}"
                self._keep(target, number, problem)
                os.write(write, f"{kind}\n".encode("utf-8", "replace"))
            self._tell(number, done)

    def _tell(self, number: int, done: int) -> None:
        self.shared[:] = struct.pack("<qqd", number, done, time.monotonic())

    def _keep(self, target: Target, number: int, problem: str) -> None:
        place = self.found / target.name
        place.mkdir(parents=True, exist_ok=True)
        name = f"{self.seed}-{number}"
        (place / f"{name}{target.file.suffix}").write_bytes(input_of(target, f"{self.seed} {number}"))
        (place / f"{name}.why").write_text(problem, encoding="utf-8", errors="replace")

    def summary(self) -> str:
        seconds = time.monotonic() - self.began
        lines = [f"{count} x {kind}" for kind, count in self.faults.most_common()]
        total = f"seed {self.seed}: {self.done:,} inputs to {len(self.chosen)} readers in {seconds:,.0f} s"
        return "\n".join([*lines, f"{total}, {sum(self.faults.values())} faults"])


if __name__ == "__main__":
    sys.exit(main())
