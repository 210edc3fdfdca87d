"""Numbers about a server, in the format of Prometheus."""

import sys
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters of one server.

    Args:
        resident: Function that gives the bytes of the models that are loaded.
    """

    def __init__(self, resident: Callable[[], int]):
        self.registry = CollectorRegistry()
        self.requests = Counter("vqfusion_requests", "answers", ["route", "status"], registry=self.registry)
        self.received = Counter("vqfusion_received_bytes", "bytes of requests", registry=self.registry)
        self.waited = Histogram(
            "vqfusion_wait_seconds", "seconds in the queue", registry=self.registry, buckets=SECONDS
        )
        self.worked = Histogram(
            "vqfusion_work_seconds", "seconds of computing", registry=self.registry, buckets=SECONDS
        )
        self.waiting = Gauge("vqfusion_waiting", "requests in the queue", registry=self.registry)
        models = Gauge("vqfusion_model_bytes", "bytes of the models that are loaded", registry=self.registry)
        models.set_function(resident)
        memory = Gauge("vqfusion_peak_memory_bytes", "largest memory of the process so far", registry=self.registry)
        memory.set_function(_peak_memory)

    def page(self) -> bytes:
        """All numbers as text."""
        return generate_latest(self.registry)


def _peak_memory() -> int:
    """Largest memory of this process so far, in bytes; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
