"""What tests of negotiations share: two ends that agree, and what they agreed to."""

from crypto.esession.conversation import Event
from crypto.esession.forms import read_form
from crypto.esession.payloads import negotiation_form
from crypto.esession.session import Agreed
from crypto.esession.terms import Terms
from crypto.xml import Element
from tests.unit.esession_keys import ed25519
from tests.unit.esession_world import End, negotiate

BOTH = (Event.ESTABLISHED, Event.ESTABLISHED)
ALICE, BOB = ed25519("alice"), ed25519("bob")
KEM, KEM_KEYS = "{urn:lockgate:esession:0}kem", "{urn:lockgate:esession:0}kemkeys"
GROUP = "{urn:lockgate:esession:0}group"


def exchange(sender: End, taker: End) -> None:
    """One stanza that arrives."""
    out = taker.take(sender.send(b"<body>hi</body>"))
    assert (out.event, [e.text for e in out.content]) == (Event.CONTENT, ["hi"])


def offered(stanza: Element, var: str) -> tuple[str, ...] | None:
    """What a request offers in a field."""
    x = negotiation_form(stanza)
    assert x is not None
    return read_form(x).offered(var)


def agreed(one: Terms, other: Terms) -> Agreed:
    """What two ends agree to, each having seen the same."""
    alice, bob = End("a", one), End("b", other)
    assert negotiate(alice, bob) == BOTH
    mine, theirs = alice.session.agreed, bob.session.agreed
    assert (mine.suite, mine.stanzas, mine.rekey_freq) == (theirs.suite, theirs.stanzas, theirs.rekey_freq)
    assert (mine.sas, mine.hybrid, mine.sas_bound) == (theirs.sas, theirs.hybrid, theirs.sas_bound)
    exchange(alice, bob)
    exchange(bob, alice)
    return mine
