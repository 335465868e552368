"""Work out the tables of docs/stragglers.md: 1,000 workers, some slow, some lost, on shards of 4,000,000 images.

With ``--check``, fail if they are stale. Everything is drawn from one seed, by NumPy's RandomState, whose numbers are
the same in every version.

python docs/make_stragglers.py
python docs/make_stragglers.py --check
"""

from __future__ import annotations

import heapq
import re
import sys
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

PAGE = Path(__file__).with_name("stragglers.md")
# fmt: off
PROPOSE_MS = (
    166, 167, 168, 169, 169, 169, 170, 170, 172, 172, 172, 173, 173, 173, 173, 173, 174, 175, 175, 175, 175, 175,
    175, 175, 175, 176, 176, 176, 176, 177, 177, 177, 177, 177, 178, 178, 178, 178, 178, 178, 178, 179, 179, 179,
    179, 180, 180, 180, 180, 180, 180, 181, 181, 181, 181, 181, 182, 182, 183, 184, 184, 184, 185, 185, 186, 186,
    186, 187, 188, 188, 188, 188, 188, 188, 189, 190, 191, 191, 192, 192, 192, 192, 192, 193, 193, 193, 193, 193,
    193, 193, 194, 195, 196, 196, 198, 198, 200, 200, 203, 214,
)
# fmt: on
"""Milliseconds of one core that spp propose --mode fast took for each of 100 images of BCCD (640 x 480), the shortest
first."""


@dataclass(frozen=True)
class World:
    """What is assumed. Times in seconds; ``slow`` of the workers take ``slowness`` times as long as the others."""

    images: int = 4_000_000
    workers: int = 1_000
    shards_per_worker: int = 8
    start: float = 1.1
    per_shard: float = 0.4
    slow: float = 0.02
    slowness: float = 5.0
    spread: float = 0.1
    """The others differ by so much, evenly, up and down."""
    lives: float = 12 * 3600
    """A worker is lost once in this time, on average (0: never)."""
    noticed: float = 300.0
    replaced: float = 600.0
    resumes: bool = True
    """Another worker goes on from the parts of a shard; else it begins anew."""


@dataclass(frozen=True)
class Outcome:
    """``hours`` from start to end; ``over``: beyond what the same workers would take without losses, starts and a last
    shard, as a share; ``lost``: workers; ``again``: hours of work done twice; ``most``: losses of one shard."""

    hours: float
    over: float
    lost: int
    again: float
    most: int


def simulate(world: World, seed: int = 0) -> Outcome:
    """A worker that is free takes the next shard, as with Dask: one that has been begun stays where it is."""
    random = np.random.RandomState(seed)
    shards = world.workers * world.shards_per_worker
    sizes = random.multinomial(world.images, np.full(shards, 1 / shards))
    times = np.array(PROPOSE_MS)[random.randint(len(PROPOSE_MS), size=world.images)] / 1000
    work = np.diff(np.concatenate([[0.0], np.cumsum(times)])[np.concatenate([[0], np.cumsum(sizes)])])
    pace = 1 + world.spread * (2 * random.random_sample(world.workers) - 1)
    pace[random.random_sample(world.workers) < world.slow] = world.slowness
    pause = -np.log(1 - random.random_sample(200_000)) * world.lives
    drawn = iter(pause if world.lives else np.full(200_000, np.inf))
    dies = [next(drawn) for _ in range(world.workers)]

    waiting = deque(range(shards))
    left, losses = work.copy(), np.zeros(shards, dtype=int)
    events = [(world.start, 1, worker) for worker in range(world.workers)]
    idle: list[int] = []
    end, again, lost, open_shards = 0.0, 0.0, 0, shards
    while open_shards:
        now, is_worker, which = heapq.heappop(events)
        if is_worker:
            idle.append(which)
        else:
            waiting.appendleft(which)
        while idle and waiting:
            worker, shard = idle.pop(), waiting.popleft()
            while dies[worker] < now:  # while it was idle: nobody missed it
                dies[worker] += world.replaced + next(drawn)
            done = now + (world.per_shard + left[shard]) * pace[worker]
            if done <= dies[worker]:
                heapq.heappush(events, (done, 1, worker))
                end, open_shards = max(end, done), open_shards - 1
                continue
            gone = dies[worker]
            made = max(0.0, (gone - now) / pace[worker] - world.per_shard)
            image = times.mean() if world.resumes else made
            again += min(made, image)
            left[shard] = left[shard] - max(0.0, made - image)
            losses[shard] += 1
            lost += 1
            heapq.heappush(events, (gone + world.noticed, 0, shard))
            heapq.heappush(events, (gone + world.replaced, 1, worker))
            dies[worker] = gone + world.replaced + next(drawn)
    ideal = work.sum() / (1 / pace).sum()
    return Outcome(float(end) / 3600, float(end / ideal) - 1, lost, float(again) / 3600, int(losses.max()))


def middle(world: World) -> Outcome:
    """Of three runs the one whose time is between the others'."""
    return sorted((simulate(world, seed) for seed in range(3)), key=lambda found: found.hours)[1]


def table(*rows: tuple[object, ...]) -> str:
    lines = [f"| {' | '.join(map(str, row))} |\n" for row in rows]
    return "".join([lines[0], "|---" * len(rows[0]) + "|\n", *lines[1:]])


def minutes(world: World) -> str:
    return f"{middle(world).hours * 60:.0f} min"


def shares() -> str:
    """How many shards."""
    rows = []
    for count in (1, 2, 4, 8, 16, 32, 64):
        world = World(shards_per_worker=count)
        sure = replace(world, lives=0.0)
        worlds = (replace(sure, slow=0.0), sure, replace(world, slow=0.0), world)
        rows.append((count, f"{world.images // (world.workers * count):,}", *map(minutes, worlds)))
    heads = ("shards for each worker", "images in one", "nothing goes wrong", "some slow", "some lost", "both")
    return table(heads, *rows)


def losses() -> str:
    """What lost workers cost."""
    rows = []
    for hours in (12, 2, 1, 0.25):
        for resumes in (True, False):
            found = middle(World(slow=0.0, lives=hours * 3600.0, resumes=resumes))
            how, took = "from its parts" if resumes else "anew", f"{found.hours * 60:.0f} min"
            rows.append((f"{hours:g} h", how, found.lost, f"{found.again * 60:.1f} min", found.most, took))
    heads = ("lost once in", "a shard goes on", "workers lost", "done twice", "most losses of a shard", "time")
    return table(heads, *rows)


def noticed() -> str:
    """What it costs to notice late."""
    rows = []
    for seconds in (300.0, 60.0, 1.0):
        seldom = World(slow=0.0, noticed=seconds)
        rows.append((f"{seconds:g} s", minutes(seldom), minutes(replace(seldom, lives=3600.0))))
    return table(("a lost worker is noticed after", "lost once in 12 h", "lost once in 1 h"), *rows)


TABLES = {"shares": shares, "losses": losses, "noticed": noticed}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/make_stragglers.py [--check]", file=sys.stderr)
        return 2
    before = page = PAGE.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        page = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>{make()}\g<2>", page, flags=re.DOTALL)
    if not arguments:
        PAGE.write_text(page, encoding="utf-8")
    elif page != before:
        print("docs/stragglers.md is stale; run python docs/make_stragglers.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
