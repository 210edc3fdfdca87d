"""What was filled into a series, as a table: one row a value, with its interval and samples."""

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqfusion.tasks.task import Finding
    from vqfusion.types import Sample

DIGITS = 8


def gap_table(mean: "Sample", finding: "Finding") -> bytes:
    """Bytes of a CSV with the columns time, channel, mean, lower, upper and sample_1, sample_2, ...

    Args:
        mean: The filled series.
        finding: Its intervals, samples, and which values were filled in.

    Returns:
        The file; times are those of the series, rows are ordered by them.
    """
    from vqfusion.data.io.table import Table

    assert finding.filled is not None and finding.lower is not None and finding.upper is not None
    length, names = mean.data.shape[1], mean.channel_names or tuple(f"channel_{i + 1}" for i in range(len(mean.data)))
    known = mean.extras if isinstance(mean.extras, Table) else None
    times = known.stamps() if known else [i / mean.rate_hz if mean.rate_hz else i for i in range(length)]
    parts = [mean, finding.lower, finding.upper, *finding.drawn]
    columns = ["time", "channel", "mean", "lower", "upper", *(f"sample_{k + 1}" for k in range(len(finding.drawn)))]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    for time, channel in finding.filled.T.nonzero().tolist():
        values = (f"{float(part.data[channel, time]):.{DIGITS}g}" for part in parts)
        rows.writerow([times[time], names[channel], *values])
    return text.getvalue().encode()
