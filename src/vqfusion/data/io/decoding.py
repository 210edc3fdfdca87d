"""Errors of the libraries that decode files, as one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from vqfusion.errors import UserError


@contextmanager
def decoding(name: str, kind: str) -> Iterator[None]:
    """Context that turns every exception of a library into a UserError: the file `name` is not a `kind`, or is damaged.

    Libraries raise almost any exception on damaged bytes (assertions, struct errors, attribute errors, memory errors
    for sizes in a damaged header), so that a list of exceptions would never be complete.
    """
    try:
        yield
    except (UserError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{name}: is no {kind}, or is broken ({reason})") from None
