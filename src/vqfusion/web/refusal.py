"""Refusals: what a client is told instead of an answer, one line and the status that fits."""

from dataclasses import dataclass

from vqfusion.errors import MissingExtra, TooLarge, UserError

LONGEST = 480  # characters of a message
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass
class Refusal(Exception):
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        message: What is wrong and how to mend it, in one line.
        retry_s: Seconds after which to try again, where that helps.
    """

    status: int
    message: str
    retry_s: int | None = None

    @property
    def body(self) -> dict[str, dict[str, object]]:
        """The JSON of the answer, in the shape that clients of OpenAI's interface read."""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": one_line(self.message), "type": kind, "param": None, "code": self.status}}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.retry_s is None else {"Retry-After": str(self.retry_s)}


FAULT = Refusal(500, "a fault of this server, not yours; its log says more")


class Stopped(Exception):
    """Raised in the work itself to end it: the client has gone, or its time is over."""


def refusal_of(error: BaseException) -> Refusal | None:
    """The refusal for an error that the input can cause; None for a fault of ours."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MissingExtra):
        return Refusal(501, str(error))
    if isinstance(error, TooLarge):
        return Refusal(413, str(error))
    if isinstance(error, UserError):
        return Refusal(422, str(error))
    text = str(error)
    if isinstance(error, MemoryError) or ("memory" in text and ("allocate" in text or "out of" in text)):
        return Refusal(413, "this needs more memory than there is; give a smaller input")
    return None


def one_line(message: str) -> str:
    """A message in one line of printable characters; of a long one the middle is left out."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2 - 2]} ... {line[-LONGEST // 2 + 3 :]}"
