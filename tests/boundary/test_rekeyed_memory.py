"""A real enclave after its session made new keys: nothing that it holds opens what went before (XEP-0210, XEP-0200).

Its memory is searched as somebody would who has everything else: every place of the image is tried as a cipher key on
what was recorded, and as a secret exponent of the public values that were seen; so is the ledger's state as it is by
then, opened with the sealing key. The same searches find what is in use, or they would prove nothing.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from bridge.wire import control
from bridge.wire.link import Remember, Stepped
from crypto.enclave.seal import Sealer
from crypto.esession import keys
from crypto.esession.conversation import Outcome, send
from crypto.esession.encrypted import read_encrypted
from crypto.esession.rekeying import NewKeys
from crypto.esession.rekeying_state import POLICY, RekeyPolicy
from crypto.esession.session import Session
from crypto.esession.suite import Suite
from crypto.primitives import fields
from crypto.primitives.integers import from_octets
from crypto.primitives.modp import GROUPS, power
from crypto.xml import MalformedXml, parse, parse_content
from rig.search import in_memory, in_octets, writable_image
from tests.bench.enclave_alone import Pump, account_map, started
from tests.bench.enclave_process import EnclaveProcess
from tests.bench.ends import AliceEnd, Ends, draw

pytestmark = [
    pytest.mark.boundary,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of other processes needs root"),
]

ALWAYS = RekeyPolicy(stanzas=1)
KEY = 32
"""Octets of a key of the negotiated cipher, aes256-ctr."""
_BLOCK = 16
_PRINTABLE = frozenset(range(0x20, 0x7F))
_DISTINCT = 20
"""Of 32 random octets fewer than so many are distinct once in ten million times."""


# ---------------------------------------------------------------------------------------------------- what is known
@dataclass
class Recorded:
    """The encrypted content of a stanza as it passed, and the counter that everybody can count."""

    data: bytes
    counter: int


@dataclass
class Witness:
    """What Alice's own code computes; the enclave is another process and knows nothing of it."""

    shared: list[bytes] = field(default_factory=list)
    """Diffie-Hellman results, as octets."""
    ciphers: list[bytes] = field(default_factory=list)
    macs: list[bytes] = field(default_factory=list)
    """MAC and SIGMA keys."""
    publics: list[bytes] = field(default_factory=list)
    """Public values of the enclave's end, in order; Alice's end receives each of them."""


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Witness:
    """Writes down what Alice's end computes."""
    found = Witness()
    first, later, shared = keys.DirectionKeys.__init__, NewKeys.__init__, fields.shared_value

    def directions(self: keys.DirectionKeys, *values: bytes, **named: bytes) -> None:
        first(self, *values, **named)
        found.ciphers.append(self.cipher)
        found.macs += [self.mac, self.sigma]

    def new(self: NewKeys, *values: bytes, **named: bytes) -> None:
        later(self, *values, **named)
        found.ciphers += [self.initiator_cipher, self.acceptor_cipher]
        found.macs += [self.initiator_mac, self.acceptor_mac]

    def exchanged(group: fields.Group, public: bytes, exponent: bytes) -> bytes:
        result = shared(group, public, exponent)
        if public not in found.publics:
            found.publics.append(public)
        found.shared.append(result)
        return result

    monkeypatch.setattr(keys.DirectionKeys, "__init__", directions)
    monkeypatch.setattr(NewKeys, "__init__", new)
    monkeypatch.setattr(fields, "shared_value", exchanged)
    return found


@dataclass
class Wire:
    """What somebody recorded."""

    stanzas: list[Recorded] = field(default_factory=list)

    def saw(self, payload: bytes, counter: int) -> None:
        """A `<c/>`, or whatever else the payload is."""
        wrapped = parse(b"<x xmlns='jabber:client'>" + payload + b"</x>")
        c = next((e for e in wrapped.elements if e.name == "c"), None)
        data = None if c is None else read_encrypted(c).data
        if data:
            self.stanzas.append(Recorded(data, counter))


class Client(AliceEnd):
    """Alice's client, which makes new keys with every stanza while it is `eager`."""

    def __init__(self) -> None:
        super().__init__()
        self.eager = False
        self.wire = Wire()

    @property
    def session(self) -> Session:
        """The active one."""
        assert self.conversation is not None
        assert self.conversation.session is not None
        return self.conversation.session

    def hears(self, payload: bytes) -> list[bytes]:
        """As it is, and recorded."""
        if self.active:
            self.wire.saw(payload, from_octets(self.session.receiving.counter))
        return super().hears(payload)

    def _sealed(self, content: bytes, stanza_id: str | None = None) -> list[bytes]:
        assert self.conversation is not None
        counter = from_octets(self.session.sending.counter)
        outcome: Outcome = send(
            self.conversation, content, draw=draw if self.eager else None, policy=ALWAYS if self.eager else POLICY
        )
        self.wire.saw(outcome.replies[0].payload, counter)
        return self._taken(outcome, stanza_id)


class Keeping(Pump):
    """A pump that keeps the state as the ledger does: the newest version of each record."""

    def __init__(self, enclave: EnclaveProcess, ends: Ends) -> None:
        super().__init__(enclave, ends)
        self.ledger: dict[str, Remember] = {}

    def carry(self, step: Stepped) -> None:
        """Remember, then carry out."""
        self.ledger |= {each.name: each for each in step.remembers}
        super().carry(step)

    def opened(self) -> bytes:
        """All of it, opened with the sealing key."""
        sealer = Sealer("alice", bytes(32), draw)
        live = [each for each in self.ledger.values() if each.sealed is not None]
        return b"\n".join(sealer.open(each.name, each.version, each.sealed or b"")[1] for each in live)


# ---------------------------------------------------------------------------------------------------- the searches
def places(image: bytes, step: int) -> set[bytes]:
    """What could be a key: 32 octets that look random. `step`: 8 where an allocator put them, 1 in a text."""
    found: set[bytes] = set()
    for offset in range(0, 8, step):
        words = memoryview(image)[offset : offset + (len(image) - offset) // 8 * 8].cast("Q")
        run = 0
        for number, word in enumerate(words):
            run = run + 1 if word >> 48 else 0  # small numbers and addresses are none of a key's
            if run >= KEY // 8:
                end = offset + 8 * (number + 1)
                found.add(image[end - KEY : end])
    return {window for window in found if len(set(window)) >= _DISTINCT}


def opens(key: bytes, recorded: Recorded) -> bool:
    """Whether the key decrypts the stanza to XML."""
    suite = Suite(cipher="aes256-ctr")
    first = suite.counter_mode(key, recorded.counter, recorded.data[:_BLOCK])
    if not (first.startswith(b"<") and _PRINTABLE.issuperset(first)):
        return False
    content = None
    with contextlib.suppress(MalformedXml):
        content = parse_content(suite.counter_mode(key, recorded.counter, recorded.data))
    return content is not None


def opened_by_any(image: bytes, stanzas: Sequence[Recorded], step: int = 8) -> set[int]:
    """The numbers of the stanzas that something in the image opens."""
    keys_in_it = places(image, step)
    return {number for number, each in enumerate(stanzas) if any(opens(key, each) for key in keys_in_it)}


def exponents(image: bytes) -> Iterator[int]:
    """What could be a secret exponent: 2^256 < x <= 2^257, in every form in which this program can hold a number."""
    for start in _found(image, b"\x01"):  # octets, as they are stored and passed
        yield from_octets(_random(image[start : start + 33]))
    for start in _found(image, b"\x01" + bytes(7)):  # words of gmpy2, the highest last
        yield int.from_bytes(_random(image[max(0, start - 32) : start]) + b"\x01", "little")
    for start in _found(image, b"\x09" + bytes(7)):  # Python's nine digits of 30 bits, after their number
        digits = _random(image[start + 8 : start + 44]).ljust(36, b"\0")
        yield sum(int.from_bytes(digits[4 * i : 4 * i + 4], "little") << 30 * i for i in range(9))


def _found(image: bytes, what: bytes) -> Iterator[int]:
    start = image.find(what)
    while start >= 0:
        yield start
        start = image.find(what, start + 1)


def _random(octets: bytes) -> bytes:
    """The octets if they look random, else none."""
    return octets if len(octets) >= KEY and len(set(octets)) >= _DISTINCT else b""


def secret_of_any(image: bytes, publics: Iterable[bytes]) -> set[bytes]:
    """Those of the public values (of group 14) whose secret is in the image."""
    prime = GROUPS[14].prime
    possible = {x for x in exponents(image) if 1 << 256 < x <= (1 << 257) + 1}
    made = {power(2, x, prime) for x in possible}
    return {public for public in publics if from_octets(public) in made}


# ---------------------------------------------------------------------------------------------------- the session
def account(every: int) -> control.AccountMap:
    """The enclave makes new keys after so many stanzas."""
    options = (control.Option(name="rekey-messages", value=str(every)), control.Option(name="groups", value="14"))
    return account_map().model_copy(update={"options": options})


def conversation(pump: Pump, turns: int, what: str) -> None:
    for number in range(turns):
        pump.ends.stanza(pump.ends.alice.says(f"{what} {number} from Alice, some words long"))
        pump.settle()
        pump.ends.bob_says(f"{what} {number} from Bob, some words long")
        pump.settle()


def test_after_both_made_new_keys_nothing_in_memory_or_ledger_opens_what_went_before(witness: Witness) -> None:
    client = Client()
    with EnclaveProcess([account(6)]) as enclave:
        pump = Keeping(enclave, Ends(client))
        started(enclave, pump=pump)
        conversation(pump, 1, "early")
        before, image = len(client.wire.stanzas), writable_image(enclave.pid)
        assert client.session.rekeying is not None
        assert before - 1 in opened_by_any(image, client.wire.stanzas), "the search finds what is in use"
        early_publics = set(witness.publics)
        assert secret_of_any(image, early_publics), "the search finds what is in use"
        early = (list(witness.ciphers), list(witness.macs), list(witness.shared))

        client.eager = True
        conversation(pump, 4, "between")
        client.eager = False
        conversation(pump, 6, "late")
        state = client.session.rekeying
        assert state.received > 0, "the enclave made keys"
        assert state.sent > 0, "Alice did"

        image, ledger = writable_image(enclave.pid), pump.opened()
        stanzas = (*client.wire.stanzas[:before], client.wire.stanzas[-1])
        for held, step in ((image, 8), (ledger, 1)):
            assert opened_by_any(held, stanzas, step) == {before}, "only the last one opens, as what is in use"
        late = secret_of_any(image, witness.publics)
        assert late, "the search finds what is in use"
        assert late == secret_of_any(ledger, witness.publics)
        assert not late & early_publics
        for secrets in early:
            assert secrets
            assert in_memory(secrets, enclave.pid, "enclave") == []
            assert in_octets(secrets, "ledger", ledger) == []
