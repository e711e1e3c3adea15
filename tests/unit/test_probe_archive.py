"""What `lockgate check` makes of what a user's server says of archives and offline storage; nothing is guessed."""

import xml.etree.ElementTree as ET

import pytest

from bridge.probe.archive import Told, judged
from bridge.probe.hop import State

INFO = "http://jabber.org/protocol/disco#info"
MAM, OFFLINE = "urn:xmpp:mam:2", "msgoffline"


def info(*features: str, name: str = "Prosody") -> ET.Element:
    rows = "".join(f"<feature var='{feature}'/>" for feature in features)
    identity = f"<identity category='server' type='im' name='{name}'/>"
    return ET.fromstring(f"<iq type='result'><query xmlns='{INFO}'>{identity}{rows}</query></iq>")


@pytest.mark.parametrize(
    ("told", "state", "found", "remedy"),
    [
        (Told(info(OFFLINE), info(MAM)), State.OK, "has an archive", ""),
        (Told(info(MAM, name="ejabberd"), None), State.OK, "has an archive", ""),
        (Told(info(MAM), info()), State.OK, "has an archive", ""),
        (Told(info(OFFLINE), info()), State.WARNING, "has no archive", "mod_mam"),
        (Told(info(OFFLINE, name="ejabberd"), None), State.WARNING, "has no archive", "mod_mam"),
        (Told(info(), info()), State.WARNING, "keeps nothing", "mod_mam"),
        (Told(info(name="ejabberd"), None), State.WARNING, "keeps nothing", "mod_mam"),
        (Told(info(OFFLINE), None), State.SKIPPED, "could not be seen", "add a contact"),
        (Told(info(), None), State.WARNING, "could not be seen", "mod_mam"),
        (Told(None, info()), State.WARNING, "keeps nothing", "mod_mam"),
        (Told(None, None), State.SKIPPED, "does not say", ""),
    ],
)
def test_each_answer_comes_to_what_is_known_and_no_more(told: Told, state: State, found: str, remedy: str) -> None:
    hop = judged("archive alice", "alice@example.org", told)
    assert (hop.name, hop.state) == ("archive alice", state)
    assert found in hop.found
    assert remedy in hop.remedy
