"""What can go wrong on the board, with the exit code that it ends the command with."""

DEVICE = 4
BUILD = 5
INTERRUPTED = 130


class BoardError(Exception):
    """A failure that is told without a traceback: `code` is edgecc's, `hint` the next step."""

    def __init__(self, code, message, hint=None):
        Exception.__init__(self, message)
        self.code = code
        self.message = message
        self.hint = hint

    def event(self):
        """Return the failure as an event of the agent's."""
        return {"event": "error", "code": self.code, "message": self.message, "hint": self.hint}
