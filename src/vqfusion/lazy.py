"""Public names of a package, loaded when they are first used, so that importing the package stays quick."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from vqfusion.deprecated import old_name


def public(package: str, **modules: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: `__name__` of the package.
        **modules: The names in each of its modules, separated by spaces: `unet="UNet"`.

    Returns:
        The three, to be assigned in this order; a name of an earlier version works with a `DeprecationWarning`.
    """
    home = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name in home:
            return getattr(import_module(f"{package}.{home[name]}"), name)
        return old_name(package, name)

    return get, lambda: sorted(home), sorted(home)
