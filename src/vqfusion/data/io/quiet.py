"""Notes that C libraries write to the descriptor of standard error by themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(noisy: bool) -> Iterator[None]:
    """Context that keeps what a library writes off standard error, where `noisy`; else nothing is done.

    libmpg123 (MP3) and libtiff write notes on damaged files there. The descriptor belongs to the whole process, so that
    only files of these kinds should be `noisy`.
    """
    if not noisy:
        yield
        return
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
