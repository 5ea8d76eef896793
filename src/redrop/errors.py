"""The one exception for a user's mistake."""


class UsageError(ValueError):
    """Something the user passed cannot be honoured.

    The message has three parts: the rule, what came in, and what to do. The command line shows it
    as one line and exits with code 2; it never shows a traceback for it.
    """
