"""Errors that users can fix; torch-free, so that the command line can catch them before it loads anything."""


class UserError(ValueError):
    """A mistake that the user can fix; the command line prints the message as one line and exits with code 2."""


class TooLarge(UserError):
    """What was asked for is over a limit, on memory or on something else that is counted."""


class Note(UserWarning):
    """A warning about a result that is returned all the same; the command line prints it as one line."""


class MissingExtra(UserError):
    """An optional package is not installed; the message names it and the command that installs it."""


def installing(extra: str) -> str:
    """Command that installs an optional extra from a checkout, since vqfusion is not in a package index."""
    return f'pip install -e ".[{extra}]" in the checkout of vqfusion'


def needs_extra(package: str, extra: str, what: str = "this") -> MissingExtra:
    """Error where `what` needs a `package` of an `extra` that is not installed."""
    return MissingExtra(f"{what} needs {package}: {installing(extra)}")
