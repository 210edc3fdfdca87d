"""A server in a process of its own, for the tests of the service and of its page."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager


class Served:
    """A server that listens: its address, its process, and the lines of its log."""

    def __init__(self, process):
        self.process = process
        self.address = process.stdout.readline().strip()
        self.log = []
        self._reader = threading.Thread(target=lambda: self.log.extend(process.stderr), daemon=True)
        self._reader.start()

    @property
    def url(self):
        return self.address.partition("#")[0]

    def end(self):
        """Wait until it has ended; its exit code."""
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return code


@contextmanager
def served(*arguments, environment=None):
    """A server with these arguments of `vqfusion serve`, at a free port, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vqfusion", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    one = Served(process)
    try:
        yield one
    finally:
        process.terminate()
        one.end()
        process.stdout.close()
        process.stderr.close()
