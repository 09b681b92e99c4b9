"""The project's own error type: everything a user can cause is a `UserError`."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in the input, told in one line: what was wrong and what to do.

    The command line prints the line and exits with code 2; a library user may catch
    it, or its base class `ValueError`.
    """
