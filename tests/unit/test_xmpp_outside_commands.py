"""The gateway's own JID as clients find it without a session: what it announces, what it lists, what it refuses."""

import xml.etree.ElementTree as ET

import pytest

from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp.names import NS_ESESSION
from adapters.xmpp.outside_disco import GATEWAY, NS_COMMANDS, NS_INFO, NS_ITEMS
from adapters.xmpp.outside_iq import answer
from adapters.xmpp.outside_pep import Pep
from adapters.xmpp.outside_roster import Roster
from adapters.xmpp.sentences import ERRORS

GATE, ALICE = "gate.example", "alice@a.example/desk"
ROUTES = (
    Route("bob", "matrix", "@bob:b.example", f"bob@{GATE}"),
    Route("_gateway", "control", GATE, GATE),
)
ROSTER = Roster([AccountRoutes("alice", "alice@a.example", {}, ROUTES)])


def asked(inner: str, *, to: str = GATE, kind: str = "get", sender: str = ALICE) -> ET.Element:
    """What is answered to an iq."""
    iq = ET.fromstring(f"<iq xmlns='jabber:client' type='{kind}' id='q' from='{sender}' to='{to}'>{inner}</iq>")
    told = answer(iq, GATE, ROSTER, Pep(lambda _: None))
    assert told is not None
    return ET.fromstring(told)


def command(node: str = "verify") -> str:
    """A command."""
    return f"<command xmlns='{NS_COMMANDS}' node='{node}' action='execute'/>"


@pytest.mark.parametrize("to", [GATE, f"{GATE}/lockgate"])
@pytest.mark.parametrize("node", ["verify", "contacts"])
def test_a_command_in_plain_is_refused_with_the_reason(to: str, node: str) -> None:
    told = asked(command(node), to=to, kind="set")
    assert told.get("type") == "error"
    text = "".join(told.itertext())
    assert text == ERRORS["command-in-plain"].sentence
    assert "encrypted" in text


def test_the_commands_are_listed_for_those_who_have_an_account() -> None:
    query = f"<query xmlns='{NS_ITEMS}' node='{NS_COMMANDS}'/>"
    for to in (GATE, f"{GATE}/lockgate"):
        listed = [item.get("node") for item in asked(query, to=to)[0]]
        assert listed == ["contacts", "fingerprints", "verify", "devices", "trust"]
    assert list(asked(query, sender="mallory@b.example/x")[0]) == []


def test_a_stranger_is_not_told_that_there_are_commands_in_sessions() -> None:
    told = asked(command(), kind="set", sender="mallory@b.example/x")
    assert told.get("type") == "error"
    assert "".join(told.itertext()) == ""


def test_contacts_are_listed_without_the_gateway_itself() -> None:
    listed = [item.get("jid") for item in asked(f"<query xmlns='{NS_ITEMS}'/>")[0]]
    assert listed == [f"bob@{GATE}"]


def test_the_resource_announces_sessions_and_the_domain_is_a_gateway() -> None:
    query = f"<query xmlns='{NS_INFO}'/>"
    for to, able in ((GATE, False), (f"{GATE}/lockgate", True)):
        found = asked(query, to=to)[0]
        features = {f.get("var") for f in found if f.tag.endswith("feature")}
        assert found[0].get("category") == "gateway"
        assert NS_COMMANDS in features
        assert (NS_ESESSION in features) is able
    assert set(GATEWAY.features) == features
