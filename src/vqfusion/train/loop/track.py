"""Metrics of a training for TensorBoard, beside metrics.jsonl."""

from pathlib import Path

from vqfusion.errors import needs_extra
from vqfusion.train.loop.metrics import OnMetrics


def tensorboard(folder: Path) -> OnMetrics:
    """A function that writes lines of metrics as events to `folder`, as `stage/name` over the step.

    Raises UserError where the package tensorboard is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise needs_extra("tensorboard", "track", "--tensorboard") from None
    writer = SummaryWriter(str(folder))

    def write(stage: str, line: dict[str, float]) -> None:
        for name, value in line.items():
            if name != "step":
                writer.add_scalar(f"{stage}/{name}", value, int(line["step"]))
        writer.flush()

    return write
