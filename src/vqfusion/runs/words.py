"""Times in words."""

BUSY = 0.85  # share of a processor below which the machine is said to be busy


def duration(seconds: float) -> str:
    """Duration in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def left_in_words(left_s: float | None, processor: float | None) -> str:
    """Time left, and that the machine is busy where a training gets less than a processor; "" where it is not known.

    Args:
        left_s: Seconds left at the present pace.
        processor: Share of a processor that the training gets, in [0, 1].
    """
    if left_s is None:
        return ""
    if processor is None or processor >= BUSY:
        return f"{duration(left_s)} left"
    return f"{duration(left_s)} left (busy machine: {duration(left_s * processor)} alone)"
