"""What `lockgate check` makes of the answers of a user's server about OMEMO."""

import xml.etree.ElementTree as ET

import pytest

from bridge.probe.hop import State
from bridge.probe.omemo import Answers, ids_of, judged

PUBSUB, STANZAS = "http://jabber.org/protocol/pubsub", "urn:ietf:params:xml:ns:xmpp-stanzas"
JID = "alice@example.org"


def listed(*ids: int) -> ET.Element:
    devices = "".join(f"<device id='{id_}'/>" for id_ in ids)
    inner = f"<items node='n'><item id='current'><devices xmlns='urn:xmpp:omemo:2'>{devices}</devices></item></items>"
    return ET.fromstring(f"<iq type='result'><pubsub xmlns='{PUBSUB}'>{inner}</pubsub></iq>")


def keys(count: int) -> ET.Element:
    rows = "".join(f"<item id='{n}'><bundle xmlns='urn:xmpp:omemo:2'/></item>" for n in range(count))
    return ET.fromstring(f"<iq type='result'><pubsub xmlns='{PUBSUB}'><items node='n'>{rows}</items></pubsub></iq>")


def refused(condition: str) -> ET.Element:
    return ET.fromstring(f"<iq type='error'><error type='auth'><{condition} xmlns='{STANZAS}'/></error></iq>")


def info(*features: str) -> ET.Element:
    rows = "".join(f"<feature var='{f}'/>" for f in features)
    return ET.fromstring(f"<iq type='result'><query xmlns='http://jabber.org/protocol/disco#info'>{rows}</query></iq>")


CARBONS, NONE = info("urn:xmpp:carbons:2"), refused("item-not-found")


CLOSED = refused("forbidden"), refused("not-authorized")


@pytest.mark.parametrize(
    ("told", "found", "remedy"),
    [
        (Answers(CARBONS, NONE, listed(1, 2)), "2 devices", ""),
        (Answers(CARBONS, listed(1, 2), listed(1), keys(2)), "2 devices", ""),
        (Answers(CARBONS, refused("forbidden"), listed(1)), "1 devices", ""),
        (Answers(CARBONS, *CLOSED), "not to be read", "force_node_config"),
        (Answers(CARBONS, NONE, NONE), "no OMEMO device", "turn it on"),
        (Answers(CARBONS, None, None), "no OMEMO device", "turn it on"),
        (Answers(CARBONS, listed(1, 2), NONE, keys(1)), "1 of 2", "pep_max_items"),
        (Answers(CARBONS, listed(1, 2), NONE, NONE), "0 of 2", "max_items_node"),
        (Answers(info(), NONE, listed(1)), "carbons", "mod_carboncopy"),
        (Answers(None, NONE, listed(1)), "carbons", "modules_enabled"),
    ],
)
def test_each_setting_that_breaks_omemo_is_named_with_its_remedy(told: Answers, found: str, remedy: str) -> None:
    hop = judged("OMEMO alice", JID, told)
    assert (hop.name, hop.state) == ("OMEMO alice", State.WARNING if remedy else State.OK)
    assert found in hop.found
    assert remedy in hop.remedy


def test_what_is_no_list_names_no_device() -> None:
    assert ids_of(None) == ids_of(NONE) == ids_of(keys(3)) == []
