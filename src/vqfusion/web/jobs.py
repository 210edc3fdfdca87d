"""The queue: requests wait in order, are computed in a few threads, tell how far they are, and can be ended."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from vqfusion.watch import watched
from vqfusion.web.bounds import Bounds
from vqfusion.web.metrics import Metrics
from vqfusion.web.refusal import Refusal, Stopped

BEAT_S = 10.0  # an event is sent at least so often, so that nobody on the way closes the connection


@dataclass(eq=False)
class Job:
    """One piece of work.

    Attributes:
        id: Name that nobody can guess, with which its client may end it.
        work: What to do.
        time_s: Seconds that it may take once it has begun.
    """

    work: Callable[[], Any]
    time_s: float
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    queued_at: float = field(default_factory=perf_counter)
    began_at: float | None = None
    fraction: float = 0.0
    stopped: bool = False
    late: bool = False
    done: Any = None  # future of the result
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """End the work at its next step; it does not begin where it still waits."""
        self.stopped = True
        self.news.set()

    def run(self, loop: asyncio.AbstractEventLoop) -> Any:
        """Do the work; called in a thread of the queue."""
        self.began_at = perf_counter()

        def tell(fraction: float) -> None:
            assert self.began_at is not None
            self.late = perf_counter() - self.began_at > self.time_s
            if self.stopped or self.late:
                raise Stopped
            self.fraction = fraction
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.news.set)

        tell(0.0)
        with watched(tell):
            result = self.work()
        tell(1.0)
        return result


class Jobs:
    """The queue of a server.

    Args:
        bounds: How many may wait, and how long each may take.
        workers: Threads that compute.
        metrics: Where waiting and work are counted.
    """

    def __init__(self, bounds: Bounds, workers: int, metrics: Metrics):
        self.bounds, self.metrics, self.workers = bounds, metrics, workers
        self.draining = False
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="vqfusion")
        self._jobs: dict[str, Job] = {}

    def submit(self, work: Callable[[], Any]) -> Job:
        """Put work at the end of the queue; Refusal where it is full, or the server is about to end."""
        if self.draining:
            raise Refusal(503, "this server is shutting down; try again later", 5)
        if len(self._jobs) >= self.bounds.queue + self.workers:
            raise Refusal(429, f"{len(self._jobs)} requests are waiting, the most of this server; try again soon", 2)
        job, loop = Job(work, float(self.bounds.time)), asyncio.get_running_loop()
        self._jobs[job.id] = job
        job.done = asyncio.ensure_future(loop.run_in_executor(self._pool, job.run, loop))
        job.done.add_done_callback(lambda _: self._end(job))
        self.metrics.waiting.set(self.waiting())
        return job

    def stop(self, id: str) -> bool:
        """End the work of this name; False where there is none."""
        job = self._jobs.get(id)
        if job is not None:
            job.stop()
        return job is not None

    def waiting(self) -> int:
        """How many wait."""
        return sum(job.began_at is None for job in self._jobs.values())

    async def result(self, job: Job) -> Any:
        """Result of a job; Refusal where it was ended."""
        try:
            return await asyncio.shield(job.done)
        except Stopped:
            if job.late:
                raise Refusal(504, f"this took over {job.time_s:g} s, the most of this server; give less") from None
            raise Refusal(499, "cancelled") from None
        except asyncio.CancelledError:
            job.stop()
            raise

    async def progress(self, job: Job) -> AsyncIterator[float | None]:
        """Fractions as they are told, None for no news in a while; ends when the job does."""
        try:
            while not job.done.done():
                news = asyncio.ensure_future(job.news.wait())
                await asyncio.wait([news, job.done], timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
                told = news.done() and not job.stopped
                news.cancel()
                job.news.clear()
                if job.stopped and job.began_at is None:
                    return
                if not job.done.done():
                    yield job.fraction if told else None
        finally:
            if not job.done.done():
                job.stop()

    async def close(self) -> None:
        """Take no more work, and end what there is."""
        self.draining = True
        for job in list(self._jobs.values()):
            job.stop()
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _end(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        now = perf_counter()
        self.metrics.waited.observe((job.began_at or now) - job.queued_at)
        if job.began_at is not None:
            self.metrics.worked.observe(now - job.began_at)
        self.metrics.waiting.set(self.waiting())
        if not job.done.cancelled():
            job.done.exception()  # counted as seen, where nobody waits any more
