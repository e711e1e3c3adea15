"""The terminal: line editing, history, a status line with the session's state and SAS, commands."""

import contextlib
import time
import unicodedata
from collections.abc import Callable

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style

from client.events import (
    ContactRead,
    Happening,
    MessageCopied,
    MessageFailed,
    MessageHeld,
    MessageReceived,
    PlainReceived,
    Reacted,
    Retracted,
    SessionEnded,
    SessionRefused,
    SessionStarted,
    SessionView,
    Warned,
)
from client.file_commands import FILE_COMMANDS, FileCommands
from client.front import WEAK_STRING, Chat, to_compare, warning
from client.leaving import last_line, unfinished
from client.recent import COMMANDS, Recent, told
from client.within import SHOWS

HELP = {
    "/verify": "the other end shows the same five characters: remember that (be sure; a weak SAS: /verify weak)",
    "/unverify": "take that back: no session with the contact counts as compared",
    "/show": "away, xa, dnd, chat or available, and a sentence: tell the contact, encrypted",
    **COMMANDS,
    **FILE_COMMANDS,
    "/end": "end the encrypted session; the next message starts another",
    "/status": "all that is known about the session",
    "/help": "this list",
    "/quit": "end the session and leave, once all is acknowledged or you say so (also Ctrl-D)",
    "//": "begins a line that is sent, with one /",
}

STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse bg:#263238 #eceff1",
        "ok": "#66bb6a bold",
        "warn": "#ffb300 bold",
        "bad": "#ef5350 bold",
        "them": "#4fc3f7 bold",
        "me": "#a5d6a7 bold",
        "dim": "#90a4ae",
    }
)

_ENDINGS = {
    "ended": "The session has ended.",
    "unauthenticated": "Somebody ended the session without proof of who it was. Nothing is sent unencrypted.",
    "broken": "A stanza did not verify: the session was ended. What came damaged is not shown.",
    "lost": "The other end has lost the session.",
    "gone": "The contact went offline.",
    "offline": "The connection is gone, the session with it.",
    "replaced": "An older session was closed.",
}


def printable(text: str) -> str:
    """The text without what would steer the terminal or the direction of what follows it."""
    kept = (c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "�" for c in text)
    opened = sum(text.count(c) for c in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
    return "".join(kept) + ("\u202c\u2069" * opened if opened else "")


def status_line(view: SessionView, connection: str) -> list[tuple[str, str]]:
    """The status line: connection, session, SAS, verified, messages that wait."""
    parts = [("class:dim", f" {view.jid} "), ("", "| ")]
    if connection != "online":
        parts += [("class:bad", connection), ("", " | ")]
    match view.state:
        case "active":
            safe = "yes" if view.post_quantum else "no"
            parts += [("class:ok", "encrypted"), ("", f" | SAS {view.sas or '-'} "), *_kind(view), *_trust(view)]
            parts.append(("class:ok" if view.post_quantum else "class:warn", f" | post-quantum: {safe}"))
            if view.disclosure != "never":
                parts.append(("class:warn", " | the other end may disclose"))
        case "negotiating":
            parts.append(("class:warn", "negotiating"))
        case _:
            parts.append(("class:dim", "no session" if view.online else "no session, contact not online"))
    if view.presence:
        parts.append(("", f" | contact {view.presence}"))
    if view.typing:
        parts.append(("class:them", " | is writing ..."))
    if view.waiting:
        parts.append(("class:warn", f" | {view.waiting} not acknowledged"))
    return parts


def _kind(view: SessionView) -> list[tuple[str, str]]:
    return [("class:bad", "(weak) ")] if view.weak_string else []


def _trust(view: SessionView) -> list[tuple[str, str]]:
    if view.verified:
        return [("class:ok", "verified")]
    if view.chain == "broken":
        return [("class:bad", "NOT THE SAME AS BEFORE, compare the SAS")]
    return [("class:warn", "not verified")]


class TerminalFront:
    """For people."""

    def __init__(self, *, tell_typing: bool = False) -> None:
        self._tell_typing = tell_typing
        self._view: Callable[[], SessionView] | None = None
        self._connection = "connecting"
        self._recent = Recent()
        self._files = FileCommands(self._of_file)
        self._prompt: PromptSession[str] = PromptSession(
            history=InMemoryHistory(),
            completer=WordCompleter(list(HELP), sentence=True),
            complete_while_typing=False,
            bottom_toolbar=self._toolbar,
            style=STYLE,
        )

    def _toolbar(self) -> FormattedText:
        return FormattedText(status_line(self._view(), self._connection) if self._view else [])

    def _line(self, *parts: tuple[str, str]) -> None:
        stamp = ("class:dim", time.strftime("%H:%M "))
        print_formatted_text(FormattedText([stamp, *parts]), style=STYLE)
        self._refresh()

    def _of_file(self, good: bool, text: str) -> None:
        self._line(("class:ok" if good else "class:bad", printable(text)))

    def _refresh(self) -> None:
        if self._prompt.app.is_running:
            self._prompt.app.invalidate()

    # ------------------------------------------------------------ what is shown
    def online(self, jid: str) -> None:
        """Logged in."""
        self._connection = "online"
        self._line(("class:dim", f"Logged in as {jid}. /help lists the commands."))

    def offline(self, reason: str) -> None:
        """Connection lost."""
        if self._connection != "offline":
            self._line(("class:bad", f"Not connected ({reason}); trying again."))
        self._connection = "offline"

    def stopped(self, sentence: str) -> None:
        """Login failed."""
        self._line(("class:bad", sentence))

    def happened(self, happening: Happening) -> None:
        """One line for each happening that a person should see."""
        match happening:
            case MessageReceived(jid=jid, id=message_id, body=body, said=said):
                self._recent.received(message_id, body, said)
                lead = ("class:dim", printable(told(said)))
                self._line(("class:them", f"{jid.partition('@')[0]}: "), lead, ("", printable(self._files.shown(body))))
            case Reacted(jid=jid, emojis=emojis):
                shown = " ".join(emojis) or "took a reaction back"
                self._line(("class:them", f"{jid.partition('@')[0]}: "), ("class:dim", printable(shown)))
            case Retracted(jid=jid):
                self._line(("class:them", f"{jid.partition('@')[0]}: "), ("class:dim", "took a message back"))
            case MessageCopied(body=body, sender=sender, said=said):
                device = sender.partition("/")[2]
                shown = printable(told(said) + (body or " ".join(said.emojis)))
                self._line(("class:me", f"me ({printable(device)}): "), ("", shown))
            case SessionStarted(view=view):
                self._started(view)
            case SessionEnded(reason=reason):
                self._line(("class:warn", _ENDINGS.get(reason, "The session has ended.")))
            case SessionRefused(condition=condition, text=text):
                self._line(("class:warn", f"No session: {condition} {printable(text)}"))
            case _:
                self._trouble(happening)

    def _trouble(self, happening: Happening) -> None:
        """What a person should know of, where there is something."""
        match happening:
            case MessageFailed(condition=condition, text=text):
                self._line(("class:bad", f"Not delivered ({condition}): {printable(text)}"))
            case MessageHeld(condition=condition, text=text):
                self._line(("class:warn", f"Not taken yet ({condition}): {printable(text)}"))
            case Warned(reason=reason, view=view):
                self._line(("class:bad", warning(reason, view)))
            case ContactRead():
                self._line(("class:dim", "Read."))
            case PlainReceived():
                self._line(("class:bad", "An unencrypted message came from the contact's address; it is not shown."))
            case _:
                self._refresh()

    def _started(self, view: SessionView) -> None:
        safe = "yes" if view.post_quantum else "no"
        self._line(
            ("class:ok", "Encrypted session. "),
            ("", f"SAS {view.sas or '-'}, "),
            *_kind(view),
            *_trust(view),
            ("", f", post-quantum: {safe}"),
        )
        if view.disclosure != "never":
            self._line(("class:warn", "The other end says that it may disclose what you write."))
        if view.sas is None:
            self._line(("class:dim", f"There is no string in it: {to_compare(view)}. If it matches: /verify"))
        elif not view.verified:
            self._line(("class:dim", "Compare the five characters with the other end's: your contact reads them out,"))
            self._line(("class:dim", "or the gateway shows them (`lockgate status`). If they match: /verify"))
            if view.weak_string:
                self._line(("class:bad", f"It is {WEAK_STRING}."))

    # ------------------------------------------------------------ what is typed
    async def run(self, chat: Chat) -> None:
        """Read lines until /quit or the end of input."""
        self._view = lambda: chat.view
        chat.start()
        if self._tell_typing:
            self._prompt.default_buffer.on_text_changed += lambda buffer: self._writes(chat, buffer.text)
        with patch_stdout():
            while True:
                try:
                    line = await self._prompt.prompt_async(FormattedText([("class:me", "> ")]))
                except EOFError:
                    line = "/quit"
                except KeyboardInterrupt:
                    continue
                if not await self._typed(chat, line) and await self._leaves(chat):
                    return

    async def _leaves(self, chat: Chat) -> bool:
        """Whether to leave now; what is not acknowledged may be waited for."""
        if not chat.view.waiting:
            return True
        self._line(("class:warn", unfinished(chat.view.waiting)))
        line = await last_line(chat, self._prompt)
        if line is None:
            self._line(("class:dim", "Staying."))
        return line is not None and (not line.strip() or not await self._typed(chat, line))

    def _writes(self, chat: Chat, text: str) -> None:
        chat.typing(bool(text) and not text.startswith("/"))

    async def _typed(self, chat: Chat, line: str) -> bool:
        """Carry out one line; false when it was the last."""
        match line.strip():
            case "":
                pass
            case "/quit":
                return False
            case "/end":
                await chat.end()
            case "/status":
                self._status(chat.view)
            case "/help":
                for command, meaning in HELP.items():
                    self._line(("class:them", f"{command:11}"), ("", meaning))
            case command if command.startswith("/") and not command.startswith("//"):
                if not self._files.typed(chat, command):
                    self._command(chat, command)
            case _:
                with contextlib.suppress(IndexError):
                    self._send(chat, line[1:] if line.startswith("//") else line)
        return True

    def _send(self, chat: Chat, text: str) -> None:
        self._recent.read(chat)
        try:
            self._recent.sent(chat.send(text))
        except ValueError as error:
            self._line(("class:bad", f"Not sent: {error}"))

    def _recently(self, chat: Chat, command: str) -> None:
        """A command about one of the last messages."""
        try:
            trouble = self._recent.command(chat, command)
        except ValueError as error:
            trouble = f"Not sent: {error}"
        if trouble is not None:
            self._line(("class:bad", trouble))

    def _command(self, chat: Chat, command: str) -> None:
        match command.partition(" ")[0]:
            case "/verify":
                self._verify(chat, weak_string=command.split()[1:] == ["weak"])
            case "/unverify":
                chat.unverify()
                self._line(("class:warn", "No session with this contact counts as compared any more."))
            case "/show":
                self._show(chat, command)
            case name if name in COMMANDS:
                self._recently(chat, command)
            case _:
                self._line(("class:bad", f"There is no command {printable(command)}; /help lists them."))

    def _show(self, chat: Chat, command: str) -> None:
        show, _, status = command.removeprefix("/show").strip().partition(" ")
        if show not in SHOWS:
            self._line(("class:bad", f"A presence is one of {', '.join(SHOWS)}."))
        elif not chat.show(show, status.strip()):
            self._line(("class:dim", "There is no session for it now; it is told in the next one."))

    def _verify(self, chat: Chat, *, weak_string: bool) -> None:
        if chat.view.weak_string and not weak_string:
            self._line(("class:bad", f"Not verified: it is {WEAK_STRING}. To count it nevertheless: /verify weak"))
        elif chat.verify(weak_string=weak_string):
            self._line(("class:ok", "Verified, for this session and those that follow from it."))
        else:
            self._line(("class:warn", "There is no active session to verify."))

    def _status(self, view: SessionView) -> None:
        rows = {
            "session": view.state,
            "with": view.peer or "-",
            "SAS": (view.sas or "-") + (" (weak)" if view.weak_string else ""),
            "verified": "yes" if view.verified else "no",
            "earlier sessions": view.chain or "-",
            "role, profile": f"{view.role or '-'}, {view.profile or '-'}",
            "post-quantum": "yes" if view.post_quantum else "no",
            "algorithms": view.suite or "-",
            "keys renewed": f"{view.rekeyed} times",
            "contact's key": f"{view.fingerprint} ({view.key})" if view.fingerprint else "-",
            "disclosure": view.disclosure or "-",
            "not acknowledged": str(view.waiting),
            "contact": "online" if view.online else "not online",
        }
        for name, value in rows.items():
            self._line(("class:dim", f"{name:17}"), ("", value))
