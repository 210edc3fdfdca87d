"""Errors that users can mend; torch-free, so that the command can name them before it loads anything."""


class UserError(ValueError):
    """A mistake that the user can mend; the command prints its one line and exits with code 2."""


class Note(UserWarning):
    """Something that the user should know about a result that is given all the same; the command prints its line."""


class MissingExtra(UserError):
    """An optional package is not installed; the line says which, and the command that installs it."""
