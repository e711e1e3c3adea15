"""Plain lines: each line of standard input is a message, each message received a line of standard output."""

import sys

from client.events import (
    Happening,
    MessageFailed,
    MessageHeld,
    MessageReceived,
    PlainReceived,
    Reacted,
    Retracted,
    SessionRefused,
    SessionStarted,
    Warned,
)
from client.front import Chat, stdin_lines, to_compare, warning


class PipeFront:
    """For shells. What is not a message goes to standard error."""

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._trouble = ""

    def online(self, jid: str) -> None:
        """Logged in."""
        self._trouble = ""

    def offline(self, reason: str) -> None:
        """Connection lost. The same reason is told once."""
        if reason != self._trouble:
            _say(f"not connected: {reason}; trying again")
        self._trouble = reason

    def stopped(self, sentence: str) -> None:
        """Login failed."""
        _say(sentence)

    def happened(self, happening: Happening) -> None:
        """Print messages; say what a person should know."""
        match happening:
            case MessageReceived(body=body):
                sys.stdout.write(body + "\n")
                sys.stdout.flush()
            case Reacted(emojis=emojis):
                _say(f"the contact reacted: {' '.join(emojis)}" if emojis else "the contact took a reaction back")
            case Retracted():
                _say("the contact took a message back")
            case SessionStarted(view=view) if not view.verified:
                safe = "yes" if view.post_quantum else "no"
                _say(f"encrypted session with {view.peer} (post-quantum: {safe}); {to_compare(view)}")
            case MessageFailed(condition=condition, text=text):
                _say(f"a message was refused ({condition}): {text}")
            case MessageHeld(condition=condition, text=text):
                _say(f"a message is not taken yet, and kept ({condition}): {text}")
            case SessionRefused(condition=condition, text=text):
                _say(f"no session ({condition}): {text or 'refused'}; trying again while messages wait")
            case Warned(reason=reason, view=view):
                _say(warning(reason, view))
            case PlainReceived():
                _say("an unencrypted message came from the contact's address; it is not shown, anyone may have sent it")

    async def run(self, chat: Chat) -> None:
        """Send the lines in order; at the end of input wait until all are acknowledged."""
        async for line in stdin_lines():
            if line:
                try:
                    chat.send(line)
                except ValueError as error:
                    chat.failures += 1
                    _say(str(error))
        if waiting := await chat.flush(self._drain_s):
            _say(f"{waiting} messages are not acknowledged; they are kept and sent next time")


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
