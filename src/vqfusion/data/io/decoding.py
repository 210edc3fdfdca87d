"""What goes wrong inside the libraries that decode files, as one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from vqfusion.errors import UserError


@contextmanager
def decoding(name: str, kind: str) -> Iterator[None]:
    """Whatever a library raises on the bytes of the file `name` becomes a UserError: it is no `kind`, or is broken.

    Libraries raise nearly anything on damaged bytes (assertions, struct errors, attribute errors, no memory for a
    size that the header made up), so that a list of exceptions would never be complete.
    """
    try:
        yield
    except (UserError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{name}: is no {kind}, or is broken ({reason})") from None
