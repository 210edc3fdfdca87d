"""Lines for the user on standard error."""

import sys

LONGEST = 480  # characters; of a longer message the middle is left out, since the mend stands at its end


def say(message: str) -> None:
    """Print a message as one line, whatever it held, without characters that steer a terminal."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2 - 2]} ... {line[-LONGEST // 2 + 3 :]}"
    print(f"vqfusion: {line}", file=sys.stderr, flush=True)


def plainly(text: str) -> str:
    """Text on one line, with what cannot be printed escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
