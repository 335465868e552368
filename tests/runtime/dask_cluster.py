"""A Dask cluster for tests: a scheduler and workers that are told what is to befall them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# Workers read what is to happen as they decode an image and when a class has been trained: "once NAME", "always NAME"
# kill them, "slow" takes its time, "one-slow" lets the first of them take it until the others have decoded six, and
# notes who decodes what.
PRELOAD = """
import os, signal, time
from pathlib import Path
import sppcli.learn.mining as mining
import sppcli.proposals.propose as propose
from sppcli.images import decode
def happens(to):
    for line in Path({plan!r}).read_text().splitlines():
        what, _, name = line.partition(" ")
        if what == "slow":
            time.sleep(1.0)
        elif what == "one-slow":
            done = Path({plan!r} + ".done")
            with done.open("a") as file:
                file.write(f"{{os.getpid()}} {{to}}\\n")
            workers = lambda: [line.split()[0] for line in done.read_text().splitlines()]
            end = time.monotonic() + 60
            others = lambda: sum(worker != str(os.getpid()) for worker in workers())
            while workers()[0] == str(os.getpid()) and others() < 6 and time.monotonic() < end:
                time.sleep(0.05)
        elif to.endswith(name):
            marker = Path({plan!r} + "." + name)
            if what == "always" or not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
def planned(data, name):
    happens(name)
    return decode(data, name)
propose.decode = planned
# Dask may run this twice in a process.
trained = mining.untouched = getattr(mining, "untouched", mining.ClassMiner.set_model)
def set_model(miner, model):
    happens(miner.name)
    trained(miner, model)
mining.ClassMiner.set_model = set_model
"""


class Cluster:
    """A scheduler, which is there at once, and workers, which come when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self._plan = folder / "plan"
        self.plan()
        (folder / "preload.py").write_text(PRELOAD.format(plan=str(self._plan)))
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self.begin()

    def begin(self) -> None:
        """The scheduler."""
        self._start("scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(self.file))
        self.wait(self.file.exists)

    def plan(self, *lines: str) -> None:
        self._plan.write_text("\n".join(lines))

    def join(self) -> None:
        """Two worker processes, which are started again when they die."""
        how = ("--nthreads", "1", "--preload", str(self.folder / "preload.py"), "--local-directory", "scratch")
        self._start("worker", "--scheduler-file", str(self.file), "--nworkers", "2", *how)

    def _start(self, *arguments: str) -> None:
        with (self.folder / f"{arguments[0]}.log").open("wb") as log:
            command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
            self._processes.append(
                subprocess.Popen(
                    command, cwd=self.folder, env=self._environment, stdout=log, stderr=log, start_new_session=True
                )
            )

    def spp(self, *arguments: str) -> subprocess.Popen[str]:
        """The command line in a process of its own."""
        # A shell that runs the tests in the background has them ignore SIGINT, and what they start inherits that.
        heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        program = f"{heeded}; import sys; from sppcli.cli.main import main; sys.exit(main(sys.argv[1:]))"
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments, "--cluster", str(self.file)],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, test: object, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not test():  # type: ignore[operator]
            assert time.monotonic() < end, [log.read_text() for log in self.folder.glob("*.log")]
            time.sleep(0.05)

    def lose_scheduler(self) -> None:
        self._kill(self._processes.pop(0))

    def end(self) -> None:
        while self._processes:
            self._kill(self._processes.pop())

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
