"""The tasks of the command line and the API: one small class each, in the registry `TASKS`; imported without torch."""

from vqfusion.tasks import deblurring, decision, generate, inpainting, language, restoring, speech
from vqfusion.tasks.task import TASKS, Answer, Task

__all__ = [
    "TASKS",
    "Answer",
    "Task",
    "deblurring",
    "decision",
    "generate",
    "inpainting",
    "language",
    "restoring",
    "speech",
]
