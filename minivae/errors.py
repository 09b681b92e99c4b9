"""The project's own error type: everything a user can cause is a `UserError`."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in the input, told in one line: what was wrong and what to do.

    The command line prints the line and exits with code 2; a library user may catch
    it, or its base class `ValueError`. Letters that cannot be printed, which a file's
    names may hold, are told by their escapes: "\\n" ends no line.
    """

    def __init__(self, message: str) -> None:
        told = (c if c.isprintable() else ascii(c)[1:-1] for c in message)
        super().__init__("".join(told))
