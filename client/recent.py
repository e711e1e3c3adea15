"""The last messages of a conversation, for a person who corrects, answers or takes one back without knowing ids."""

from client.content import Said
from client.front import Chat

COMMANDS = {
    "/edit": "another wording of your last message",
    "/retract": "take your last message back",
    "/reply": "answer the contact's last message",
    "/react": "emoji, for the contact's last message; none takes them back",
}


class Recent:
    """What was said last by either side."""

    def __init__(self) -> None:
        self._mine: str | None = None
        self._theirs: tuple[str, str] | None = None
        self._unread: str | None = None

    def sent(self, message_id: str) -> None:
        """The user wrote a message."""
        self._mine = message_id

    def received(self, message_id: str, body: str, said: Said) -> None:
        """The contact did. A new wording is known by the id of the first."""
        self._theirs = said.replaces or message_id, body
        if said.markable:
            self._unread = message_id

    def read(self, chat: Chat) -> None:
        """Who writes has read what stands above."""
        if self._unread is not None and chat.displayed(self._unread):
            self._unread = None

    def command(self, chat: Chat, line: str) -> str | None:
        """Carry out one of the commands; what to tell the user, None when there is nothing to. ValueError."""
        name, _, text = line.partition(" ")
        text = text.strip()
        if name in ("/edit", "/retract"):
            return self._own(chat, name, text)
        if self._theirs is None:
            return "The contact has not written anything yet."
        to, body = self._theirs
        if name == "/react":
            chat.react(to, text.split())
        elif not text:
            return "Write the answer after /reply."
        else:
            self._mine = chat.reply(to, text, quoted=body)
        return None

    def _own(self, chat: Chat, name: str, text: str) -> str | None:
        if self._mine is None:
            return "You have not written anything yet."
        if name == "/retract":
            chat.retract(self._mine)
            self._mine = None
        elif not text:
            return "Write the new wording after /edit."
        else:
            chat.correct(self._mine, text)
        return None


def told(said: Said) -> str:
    """What a line of the conversation begins with, for a message that says more than its text."""
    if said.replaces is not None:
        return "(corrected) "
    return f"(to “{first_line(said.quoted)}”) " if said.quoted else ""


def first_line(text: str) -> str:
    """The beginning of a text."""
    line = next((line for line in text.split("\n") if line.strip("> ")), "").removeprefix("> ")
    return line if len(line) <= 60 else f"{line[:60]}…"
