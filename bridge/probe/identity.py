"""How an account's own Matrix identity stands, as a running gateway tells it, and what is to be done about it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.probe.hop import Hop, failed, ok, warning


class Advice(NamedTuple):
    """What a code means, and what to do; empty when nothing."""

    found: str
    remedy: str = ""


STATES: Mapping[str, Advice] = {
    "none": Advice("the account has not logged in yet", "Check again in a moment."),
    "preparing": Advice("it is being set up", "Check again in a moment."),
    "ours": Advice("it is ours, and signs the gateway's device"),
    "elsewhere": Advice(
        "another client made it, so the gateway's device is unsigned: strict clients hide what it sends",
        "Join it with the recovery key of that client: lockgate matrix recover {account}",
    ),
    "replaced": Advice(
        "another client has replaced the one that was ours: the gateway's device is unsigned now",
        "If that was you, join the new one: lockgate matrix recover {account}. If not, change the account's password.",
    ),
}
PROBLEMS: Mapping[str, Advice] = {
    "auth-required": Advice(
        "the homeserver asks for the password once more before it takes the identity",
        "With password_file the gateway answers that itself: see that the password there is right. With a token only: "
        "log in to the account with Element, let it set up its identity, then: lockgate matrix recover {account}",
    ),
    "far-forbidden": Advice("the homeserver does not take the identity", "Ask its operator why."),
}
_OTHER = Advice("publishing it failed; it is tried again within the hour", "Look at the gateway's log.")


def identities(status: Mapping[str, Any]) -> list[Hop]:
    """One line for each account that has a Matrix user."""
    told = status.get("identities")
    return [_hop(entry) for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []


def advice(entry: Mapping[str, Any]) -> Advice:
    """What an account's identity stands for, and what to do."""
    state, problem, account = str(entry.get("state")), entry.get("problem"), str(entry.get("account"))
    known = STATES.get(state, _OTHER)
    if state == "preparing" and problem:
        known = PROBLEMS.get(str(problem), _OTHER)
    return Advice(known.found, known.remedy.format(account=account))


def _hop(entry: Mapping[str, Any]) -> Hop:
    name, said = f"identity {entry.get('account')}", advice(entry)
    if entry.get("state") == "ours":
        return ok(name, said.found)
    if entry.get("state") == "replaced":
        return failed(name, said.found, said.remedy)
    return warning(name, said.found, said.remedy)
