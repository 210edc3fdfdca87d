"""`data NAME` shows what a data set holds; `data check NAME` finds what is wrong with it."""

from typing import Any

import typer
from typer.core import TyperGroup

from vqfusion.commands.check import check
from vqfusion.commands.look import data

SHOW, HELP = "show", ("-h", "--help")


class _Shows(TyperGroup):
    """A group whose first word may be a data set instead of a command: `data emoji` is `data show emoji`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` before anything that is no command."""
        if not args or args[0] not in (*self.commands, *HELP):
            args = [SHOW, *args]
        return super().parse_args(ctx, args)


data_app = typer.Typer(cls=_Shows, help="Show what a data set holds, or check what is wrong with it.")
data_app.command(SHOW)(data)
data_app.command("check")(check)
