"""`lockgate matrix verify`: the operator compares emoji with a contact before a Matrix client, or shows a code."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from adapters.matrix.sentences import EMOJI
from bridge.cli import output
from bridge.cli.admin import ask
from bridge.cli.codes import STYLE, drawn
from bridge.cli.trust import unknown
from bridge.config.load import load_config
from bridge.config.models import Config
from bridge.errors import OperatorError, Problem, WorldError

PATIENCE_S: Final = 11 * 60.0
"""The enclave ends a verification after ten minutes."""
_ASK_EVERY_S: Final = 0.5
_SOON: Final = frozenset({"devices-unknown", "identity-not-ready"})
_READY_WITHIN_S: Final = 20.0
"""How long these may be the answer: they are being asked for."""
_TOLD: Final = {
    "requested": "{contact} is asked. They have to accept in their client (Element shows it in the conversation).",
    "prepared": "Both are ready. Waiting for the verification to start.",
    "confirmed": "Waiting for {contact} to say that the emoji match.",
}
_REFUSALS: Final = {
    "under-way": ("a verification is under way already", "Take part in it: leave --to-device and --qr out."),
    "identity-not-ready": ("the account's own identity is not known to others yet", "See: lockgate matrix identity"),
    "devices-unknown": ("the contact's devices are not known yet", "Wait a moment, then try again."),
    "not-cross-signed": (
        "the contact has no identity that could be verified",
        "Have them set up cross-signing in their client (in Element: Settings, Encryption).",
    ),
    "no-verification": ("the verification is over", "Begin again."),
    "other-session": ("another verification has taken its place", "Begin again, and compare the new emoji."),
    "unknown-contact": ("the enclave does not know this contact on Matrix", "See: lockgate trust show"),
    "unknown-account": ("the account's state is not in memory", "Wait until the gateway is up, then try again."),
    "no-answer": ("the enclave does not answer", "See: lockgate status"),
}
_CANCELLED: Final = {
    "mismatched-sas": (
        "the emoji differ",
        "Somebody may be in between. Do not trust this contact's identity before you know.",
    ),
    "user": ("it was broken off", "Begin again when both are ready."),
    "timeout": ("it took too long", "Begin again when both are ready."),
    "accepted": ("another device took it on", "Go on there."),
    "key-mismatch": ("the keys are not those that the homeserver shows", "Somebody may be in between."),
    "mismatched-commitment": ("the key is not the one that was promised", "Somebody may be in between."),
}

Reader = Callable[[str], str]


def verify(
    config: Path, account: str, contact: str, *, to_device: bool, code: bool = False, read: Reader = input
) -> None:
    """Begin a verification, or join the one that the contact asked for, and go through it to its end.

    `code`: by a code that the contact scans, if their client can.
    """
    if code and to_device:
        found = "--qr and --to-device do not go together"
        raise OperatorError(Problem("two-ways", "", found, "A code is asked for in the conversation."))
    loaded = _loaded(config, account, contact)
    if not sys.stdin.isatty():
        remedy = "Run it where you can answer while you talk to the contact."
        raise OperatorError(Problem("no-terminal", "", "there is no terminal to ask on", remedy))
    talk = _Talk(loaded, account, contact, read)
    try:
        talk.begin("begin-code" if code else "begin-to-device" if to_device else "begin")
        talk.until_over()
    except KeyboardInterrupt:
        talk.act("cancel")
        raise


class _Talk:
    """One verification, from the operator's side."""

    def __init__(self, config: Config, account: str, contact: str, read: Reader) -> None:
        self._config = config
        self._account = account
        self._contact = contact
        self._read = read
        self._told: str | None = None
        self._drawn = False

    def act(self, action: str, compared: str | None = None) -> dict[str, Any]:
        order: dict[str, object] = {"op": "verify", "account": self._account, "contact": self._contact}
        return ask(self._config.admin_socket, {**order, "action": action, "compared": compared})

    def begin(self, action: str) -> None:
        until = time.monotonic() + _READY_WITHIN_S
        reply = self.act(action)
        while reply.get("code") in _SOON and time.monotonic() < until:
            time.sleep(_ASK_EVERY_S)
            reply = self.act(action)
        if reply.get("code") != "ok" and (reply.get("code") != "under-way" or action != "begin"):
            raise self._problem(_REFUSALS, str(reply.get("code")))

    def until_over(self) -> None:
        """Raises WorldError when it came to nothing."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            told = self.act("show")
            state = str(told.get("state"))
            if state in ("verified", "finished"):
                output.line(f"{self._account}/{self._contact} is verified.", "green")
                return
            if told.get("code") != "ok":
                raise self._problem(_REFUSALS, str(told.get("code")))
            if state in ("cancelled", "none"):
                raise self._problem(_CANCELLED, str(told.get("cancelled")))
            if state == "comparing":
                self._compare(told)
            elif state == "scanned":
                self._scanned(told)
            else:
                self._draw(told.get("scan"))
                self._tell(state)
                time.sleep(_ASK_EVERY_S)
        raise self._problem(_CANCELLED, "timeout")

    def _compare(self, told: dict[str, Any]) -> None:
        decimal = " ".join(str(number) for number in told.get("decimal", ()))
        for line in shown(told.get("emoji", ()), decimal):
            output.line(line, "bold")
        reply = self._read("Does the contact see the same, in this order? Compare by voice or in person. [y/n] ")
        word = reply.strip().lower()
        if word in ("y", "yes", "n", "no"):
            code = str(self.act("match" if word[0] == "y" else "differ", decimal).get("code"))
            if code != "ok":
                raise self._problem(_REFUSALS, code)

    def _draw(self, scan: object) -> None:
        """Show the code to scan, once."""
        if not isinstance(scan, str) or self._drawn:
            return
        self._drawn = True
        for line in drawn(bytes.fromhex(scan)):
            output.line(line, STYLE)
        output.line(f"{self._contact} scans this code with their client.", "bold")
        self._told = "prepared"

    def _scanned(self, told: dict[str, Any]) -> None:
        question = f"{self._contact}'s client has scanned the code. Do you see it say so, on their own device? [y/n] "
        word = self._read(question).strip().lower()
        if word in ("y", "yes", "n", "no"):
            code = str(self.act("match" if word[0] == "y" else "differ", str(told.get("mark"))).get("code"))
            if code != "ok":
                raise self._problem(_REFUSALS, code)

    def _tell(self, state: str) -> None:
        if state != self._told and state in _TOLD:
            output.line(_TOLD[state].format(contact=self._contact))
        self._told = state

    def _problem(self, sentences: dict[str, tuple[str, str]], code: str) -> WorldError:
        found, remedy = sentences.get(code, (f"it ended with “{output.safe(code)}”", "Begin again."))
        return WorldError(Problem(code, f"{self._account}/{self._contact}", found, remedy))


def shown(emoji: object, decimal: str) -> list[str]:
    """What both compare: the emoji with their names, one a line; numbers when there are no emoji."""
    numbers = [number for number in emoji if isinstance(number, int)] if isinstance(emoji, list | tuple) else []
    if not numbers:
        return [decimal]
    return [f"{place}. {EMOJI[number][0]}  {EMOJI[number][1]}" for place, number in enumerate(numbers, start=1)]


def _loaded(config: Path, account: str, contact: str) -> Config:
    loaded = load_config(config)
    if account not in loaded.accounts:
        raise unknown("account", account, sorted(loaded.accounts))
    contacts = loaded.accounts[account].contacts
    if contact not in contacts:
        raise unknown("contact", contact, sorted(contacts))
    return loaded
