"""What people ask: one small class per task, in the registry `TASKS`. Importing it loads no torch."""

from vqfusion.tasks import generate, language, restore, speech
from vqfusion.tasks.task import TASKS, Answer, Task

__all__ = ["TASKS", "Answer", "Task", "generate", "language", "restore", "speech"]
