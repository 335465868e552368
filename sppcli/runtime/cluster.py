"""Functions over items on the workers of a Dask cluster: the one module that knows Dask.

The same interface as `processes.run_many`, and the same promises: results as they come, and an item whose process is
killed is the item's fault only when it happens again and again.
"""

from __future__ import annotations

import logging
import queue
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sppcli.errors import MissingInput, SppError, StaleArtefact, UsageProblem, WorkerKilled
from sppcli.runtime.counts import count_of
from sppcli.runtime.cpus import share_processors
from sppcli.runtime.progress import Progress
from sppcli.runtime.remote import Event, Report

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")

DEATHS = 8
"""So many times may an item's worker be lost; an image that kills its worker is left out after two (`attempts`)."""
_FAILURES = 3
_CONNECT = "15s"


class Cancelled(BaseException):
    """The one who asked for this work no longer wants it."""


@contextmanager
def connected(address: str, progress: Progress, wait: float = 300) -> Iterator[Cluster]:
    """The cluster whose scheduler is at ``address``, or whose scheduler file that is; says what it consists of.

    Raises:
        MissingInput: Dask is not installed, no such file, no scheduler that answers, or no worker within ``wait``
            seconds.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MissingInput("--cluster needs Dask: pip install 'sppcli[dask]'") from None
    named = {"address": address}
    if "://" not in address and not _is_host(address):
        if not Path(address).is_file():
            raise MissingInput(
                f"{address}: there is no such scheduler file; give one that dask scheduler --scheduler-file wrote, or "
                "an address such as tcp://HOST:8786"
            )
        named = {"scheduler_file": address}
    # What Dask logs of a connection that breaks, with a traceback, is said here in a sentence.
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        client = Client(**named, timeout=_CONNECT, set_as_default=False, name="spp")
    except (OSError, ValueError, TimeoutError) as error:
        log.setLevel(before)
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingInput(f"{address}: no Dask scheduler answers there ({said}); start one: see spp cluster") from None
    try:
        yield Cluster(client, address, progress, wait)
    finally:
        with suppress(Exception):
            client.close(timeout=5)
        log.setLevel(before)


def _is_host(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdigit()


class Cluster:
    """An open connection to a cluster; see `remote.Engine`."""

    def __init__(self, client: Client, address: str, progress: Progress, wait: float) -> None:
        self._client = client
        self._progress = progress
        self.address = address
        if not self._workers():
            progress.note(f"waiting for the first worker of {address}")
            try:
                client.wait_for_workers(1, timeout=wait)
            except TimeoutError:
                raise MissingInput(
                    f"{address}: no worker has come in {wait:.0f} s; start some: see spp cluster"
                ) from None
        self.workers = len(self._workers())
        there = "dashboard" in client.scheduler_info().get("services", {})
        dashboard = f"; dashboard {client.dashboard_link}" if there else ""
        progress.say(f"{count_of(self.workers, 'worker')} at {address}{dashboard}")

    def _workers(self) -> dict[str, Any]:
        return dict(self._client.scheduler_info(n_workers=-1)["workers"])

    def check(self, function: Callable[[], str]) -> None:
        """Run ``function`` on every worker that is there.

        Raises:
            StaleArtefact: it found something wrong, which it returned; names the worker.
            UsageProblem: a worker that runs several items at once in one process.
        """
        for address, worker in self._workers().items():
            if worker["nthreads"] != 1:
                raise UsageProblem(
                    f"the worker {address} would work on {worker['nthreads']} shards at once in one process; start it "
                    "with --nthreads 1, and several by --nworkers"
                )
        for address, found in self._client.run(function, on_error="return").items():
            if isinstance(found, BaseException):
                raise StaleArtefact(
                    f"the worker {address} cannot run this version of spp ({type(found).__name__}: {found}); install "
                    "the same there"
                )
            if found:
                raise StaleArtefact(f"the worker {address} {found}")

    def run_many(
        self, function: Callable[[Item, Report], Any], items: Sequence[Item], heard: Callable[[int, str, Event], None]
    ) -> Iterator[tuple[int, Any]]:
        """Yield ``(index, function(item, report))`` as results come; see `remote.Engine`.

        An item whose worker is lost is done again by another, up to `DEATHS` times; one that fails, but for an
        `SppError`, on another worker too. When the caller stops, what is queued is cancelled, and what runs ends at its
        next report.

        Raises:
            SppError: what ``function`` raised, or a cluster that is lost.
        """
        run = _Run(self._client, self.address, function, items)
        try:
            for index in range(len(items)):
                run.submit(index)
            while run.futures:
                found = run.next(timeout=2)
                if found is None:
                    self._alive()
                elif found[0] == "heard":
                    heard(*found[1])
                elif (future := run.futures.get(index := found[1])) is found[2] and future is not None:
                    result = future.result() if future.status == "finished" else None
                    if future.status == "finished" and not isinstance(result, _Failed):
                        for event in run.waiting_events():
                            heard(*event)
                        run.forget(index)
                        yield index, result
                    else:
                        run.again(index, future, result.error if result else future.exception())
        finally:
            run.end()

    def _alive(self) -> None:
        if self._client.status != "running":
            raise SppError(
                f"{self.address}: the cluster does not answer any more; finished shards are kept, run it again to go on"
            )
        if not self._workers():
            self._progress.note("no worker is left; waiting for one")


class _Run:
    """The items of one call: their futures, and what was heard of them."""

    def __init__(
        self, client: Client, address: str, function: Callable[[Any, Report], Any], items: Sequence[Any]
    ) -> None:
        self._client, self._address, self._function, self._items = client, address, function, items
        self._topic = f"spp-{uuid.uuid4().hex[:12]}"
        self._queue: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._tried = [0] * len(items)
        self._failed = [0] * len(items)
        self._deaths = [0] * len(items)
        self.futures: dict[int, Future] = {}
        client.subscribe_topic(self._topic, self._heard)

    async def _heard(self, event: tuple[float, Any]) -> None:
        self._queue.put(("heard", tuple(event[1])))

    def next(self, timeout: float) -> tuple[Any, ...] | None:
        """What happened next: ``("heard", (index, worker, event))`` or ``("done", index, future)``."""
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            return None

    def waiting_events(self) -> Iterator[tuple[int, str, Event]]:
        """What has been heard and not been given out; the rest stays."""
        kept = []
        while True:
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                break
            if found[0] == "heard":
                yield found[1]
            else:
                kept.append(found)
        for found in kept:
            self._queue.put(found)

    def submit(self, index: int, avoid: str = "") -> None:
        others = [worker for worker in self._client.scheduler_info(n_workers=-1)["workers"] if worker != avoid]
        key = f"{self._topic}-{index}-{self._tried[index]}"
        self._tried[index] += 1
        future = self._client.submit(
            _on_worker,
            self._function,
            self._items[index],
            self._topic,
            index,
            self._sharing(),
            key=key,
            pure=False,
            workers=others if avoid and others else None,
            allow_other_workers=bool(avoid and others),
        )
        self.futures[index] = future
        future.add_done_callback(lambda done: self._queue.put(("done", index, done)))

    def _sharing(self) -> dict[str, int]:
        """How many workers share the processors of each host."""
        hosts = [worker["host"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values()]
        return {host: hosts.count(host) for host in hosts}

    def again(self, index: int, future: Future, error: BaseException | None) -> None:
        """Let an item be done again whose future ended with ``error``, or raise why not."""
        from distributed.scheduler import KilledWorker

        if error is None or future.status == "cancelled":
            raise SppError(
                f"{self._address}: the scheduler was lost or restarted, and the work with it; finished shards are "
                "kept: run it again when a scheduler and workers are there"
            )
        avoid = ""
        if isinstance(error, KilledWorker | WorkerKilled):
            # Dask itself gives an item that many workers before it gives up.
            self._deaths[index] += 4 if isinstance(error, KilledWorker) else 1
            if self._deaths[index] >= DEATHS:
                item = self._items[index]
                raise WorkerKilled(f"the process that worked on {item} was killed again and again") from error
            avoid = getattr(getattr(error, "last_worker", None), "address", "")
        elif isinstance(error, SppError):
            raise error
        else:
            self._failed[index] += 1
            if self._failed[index] >= _FAILURES:
                raise error
        self.submit(index, avoid)

    def forget(self, index: int) -> None:
        self.futures.pop(index).release()

    def end(self) -> None:
        """Cancel what is left."""
        with suppress(Exception):
            self._client.cancel(list(self.futures.values()), force=True)
        self.futures.clear()
        with suppress(Exception):
            self._client.unsubscribe_topic(self._topic)


def _on_worker(
    function: Callable[[Item, Report], Any], item: Item, topic: str, index: int, sharing: dict[str, int]
) -> Any:
    """``function`` of ``item`` on a worker, which tells the caller what it reports."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    host = worker.address.rpartition("://")[2].rpartition(":")[0]
    share_processors(sharing.get(host, max(sharing.values(), default=1)))

    def report(event: Event) -> None:
        state = worker.state.tasks.get(key)
        if state is None or state.state in ("cancelled", "resumed"):
            raise Cancelled
        worker.log_event(topic, (index, worker.address, event))

    try:
        return function(item, report)
    except Exception as error:
        return _Failed(_sendable(error, worker.address))


@dataclass(frozen=True)
class _Failed:
    """What a function raised. It comes back as a value: Dask loses exceptions that cannot be sent, or are too deep."""

    error: Exception


def _sendable(error: Exception, worker: str) -> Exception:
    """``error`` with where it came from, if it is nobody's to mend; or, if it cannot be sent, its text."""
    if not isinstance(error, SppError | OSError | MemoryError):
        error.add_note(f"on the worker {worker}:\n{''.join(traceback.format_exception(error, limit=-10))}")
    from distributed.protocol.pickle import dumps, loads

    try:
        loads(dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__} on the worker {worker}: {error}")
    return error
