"""File lock that the kernel releases when the process ends, however it ends."""

import errno
import os
import socket
import sys
import time
from pathlib import Path

from vqfusion.errors import UserError

TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
LOCK = "train.lock"  # in the folder of a training
FAR = 2**20  # position of the byte that Windows locks, beyond the content


def take(path: Path) -> int:
    """Lock a file and return its descriptor; closing it releases the lock.

    Raises:
        UserError: Another process has the lock (named in the message), or the file cannot be made or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        _lock(descriptor)
    except OSError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        if error.errno in TAKEN:
            raise UserError(
                f"{path.parent}: {holder} is training here; wait for it, or choose another --output"
            ) from None
        raise UserError(f"{path}: cannot be locked ({error.strerror}); choose an --output on another disk") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return descriptor


def is_taken(path: Path) -> bool:
    """Whether a process has the lock of a file; it is not taken."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        if not os.read(descriptor, 1):
            return False  # released; a killed process leaves its name
        _lock(descriptor)
    except OSError as error:
        return error.errno in TAKEN
    finally:
        os.close(descriptor)
    return False


def release(descriptor: int) -> None:
    """Release a lock; the empty file stays, so that nobody can lock a new file of the same name meanwhile."""
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Who has the lock; waits up to a second for the name, which is written after the lock was taken."""
    for _ in range(20):
        if name := os.read(descriptor, 200).decode(errors="replace").strip():
            return name
        time.sleep(0.05)
    return "another process"


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
