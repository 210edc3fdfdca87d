"""Metrics for TensorBoard, beside metrics.jsonl."""

from pathlib import Path

from vqfusion.errors import needs_extra
from vqfusion.train.loop.metrics import OnMetrics


def tensorboard(folder: Path) -> OnMetrics:
    """Callback that writes metrics as TensorBoard events to `folder`, as `stage/name` over the step.

    Raises:
        UserError: The package tensorboard is missing.
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
