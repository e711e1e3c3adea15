"""The companion's parts without sockets: SCRAM, acknowledgements, the local stream, local TLS."""

import base64
import contextlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from adapters.xmpp.outside_stream import StreamBroken
from companion.acks import Arrivals, Departures, Ticket, WrongCount
from companion.local_certificate import certificate_der, kept_certificate, kept_password, private_folder
from companion.local_events import Arrived, BindWanted
from companion.local_stream import LocalStream
from companion.local_tls import TlsBroken, TlsLayer, server_context
from companion.scram import ClientSide, NotAuthenticated, ServerSide, Verifier, prepared, verifier
from companion.stream import Element, End, Header, StreamReader, TooLarge
from tests.unit import companion_world as world

# ------------------------------------------------------------ SCRAM
RFC_5802 = (
    "SCRAM-SHA-1",
    ("fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92"),
    "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
)
RFC_7677 = (
    "SCRAM-SHA-256",
    ("rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "W22ZaJ0SNY7soEsUEjb6gQ=="),
    "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
)


@pytest.mark.parametrize(("mechanism", "values", "proof", "signature"), [RFC_5802, RFC_7677])
def test_scram_gives_what_its_rfcs_print(
    mechanism: str, values: tuple[str, str, str], proof: str, signature: str
) -> None:
    client_nonce, server_nonce, salt = values
    client = ClientSide(mechanism, "user", client_nonce, None, flag="n")
    kept = verifier(mechanism, "pencil", base64.b64decode(salt), 4096)
    server = ServerSide(mechanism, {}, plus_offered=False)
    assert server.read_first(client.first()) == "user"
    last = client.final(server.first(kept, server_nonce), "pencil")
    assert last == f"c=biws,r={client_nonce}{server_nonce},p={proof}"
    assert server.final(last, kept) == f"v={signature}"
    client.check(f"v={signature}")


KEPT = verifier("SCRAM-SHA-256", "right", b"s" * 16, 4096)
EXPORTER = {"tls-exporter": b"e" * 32}


def login(
    client: ClientSide, bindings: dict[str, bytes], mechanism: str, password: str = "right", kept: Verifier = KEPT
) -> None:
    server = ServerSide(mechanism, bindings, plus_offered=bool(bindings))
    server.read_first(client.first())
    client.check(server.final(client.final(server.first(kept, "nonce"), password), kept))


def test_a_login_with_channel_binding_is_accepted_on_its_own_channel_only() -> None:
    binding = ("tls-exporter", b"e" * 32)
    login(ClientSide("SCRAM-SHA-256-PLUS", "u", "n", binding, flag="p"), EXPORTER, "SCRAM-SHA-256-PLUS")
    elsewhere = {"tls-exporter": b"f" * 32}
    with pytest.raises(NotAuthenticated):
        login(ClientSide("SCRAM-SHA-256-PLUS", "u", "n", binding, flag="p"), elsewhere, "SCRAM-SHA-256-PLUS")


def test_a_wrong_password_is_refused() -> None:
    with pytest.raises(NotAuthenticated):
        login(ClientSide("SCRAM-SHA-256", "u", "n", None, flag="n"), {}, "SCRAM-SHA-256", "wrong")


def test_a_client_that_was_not_shown_the_offer_of_channel_binding_is_refused() -> None:
    login(ClientSide("SCRAM-SHA-256", "u", "n", None, flag="n"), EXPORTER, "SCRAM-SHA-256")
    with pytest.raises(NotAuthenticated):
        login(ClientSide("SCRAM-SHA-256", "u", "n", None, flag="y"), EXPORTER, "SCRAM-SHA-256")
    with pytest.raises(NotAuthenticated):
        login(ClientSide("SCRAM-SHA-256-PLUS", "u", "n", None, flag="n"), EXPORTER, "SCRAM-SHA-256-PLUS")


@pytest.mark.parametrize(
    "challenge",
    [
        "r=other,s=c2FsdA==,i=4096",
        "r=n,s=c2FsdA==,i=4096",
        "r=nmore,s=c2FsdA==,i=1",
        "r=nmore,s=c2FsdA==,i=9999999",
        "r=nmore,s=c2FsdA==,i=x",
        "r=nmore,s=!,i=4096",
        "m=x,r=nmore,s=c2FsdA==,i=4096",
        "",
    ],
)
def test_a_server_with_a_bad_challenge_is_refused(challenge: str) -> None:
    with pytest.raises(NotAuthenticated):
        ClientSide("SCRAM-SHA-256", "u", "n", None, flag="n").final(challenge, "right")


def test_a_server_that_does_not_know_the_password_is_noticed() -> None:
    client = ClientSide("SCRAM-SHA-256", "u", "n", None, flag="n")
    with pytest.raises(NotAuthenticated):
        client.check("v=")
    client.final("r=nmore,s=c2FsdA==,i=4096", "right")
    with pytest.raises(NotAuthenticated):
        client.check("v=" + base64.b64encode(b"x" * 32).decode())


def test_passwords_are_prepared() -> None:
    assert prepared("I\u00adX") == "IX"
    assert prepared("\u2168") == "IX"
    assert prepared("a\u00a0b") == "a b"


# ------------------------------------------------------------ acknowledgements
class Line:
    """A sender, a receiver, and a line between them that loses what is on it when it is cut."""

    def __init__(self) -> None:
        self.departures, self.arrivals = Departures(), Arrivals()
        self.sent = self.acknowledged = 0
        self.open: list[tuple[int, Ticket]] = []
        self.settled: set[int] = set()
        self.came: list[int] = []
        self.there: list[int] = []
        self.back: list[int] = []
        self.told: int | None = None

    def send(self, _: int) -> None:
        self.departures.add(str(self.sent).encode(), None)
        if self.told is None:
            self.there.append(self.sent)
        self.sent += 1

    def arrive(self, _: int) -> None:
        if self.there:
            number = self.there.pop(0)
            ticket = self.arrivals.arrived((str(number % 2),))
            if ticket is not None:
                self.came.append(number)
                self.open.append((number, ticket))

    def settle(self, which: int) -> None:
        if self.open:
            number, ticket = self.open.pop(which % len(self.open))
            self.settled.add(number)
            ticket.settle()

    def tell(self, _: int) -> None:
        if self.told is None:
            self.back.append(self.arrivals.handled)

    def hear(self, _: int) -> None:
        if self.back:
            self._acknowledge(self.back.pop(0))

    def cut(self, _: int) -> None:
        self.there, self.back = [], []
        self.arrivals.resuming()
        self.told = self.arrivals.handled

    def resume(self, _: int) -> None:
        if self.told is not None:
            self._acknowledge(self.told)
            self.there = [int(octets) for octets in self.departures.unacknowledged()]
            self.told = None

    def _acknowledge(self, handled: int) -> None:
        self.departures.acknowledged(handled)
        left = len(self.departures)
        assert self.settled >= set(range(self.sent - left)), "acknowledged before it was taken"


STEPS = ("send", "arrive", "settle", "tell", "hear", "cut", "resume")


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=120))
def test_nothing_is_lost_doubled_or_acknowledged_early_however_the_line_is_cut(steps: list[tuple[str, int]]) -> None:
    line = Line()
    for name, value in steps:
        getattr(line, name)(value)
    line.resume(0)
    while line.there or line.open:
        line.arrive(0)
        line.settle(0)
    line.tell(0)
    while line.back:
        line.hear(0)
    assert line.came == list(range(line.sent))
    assert len(line.departures) == 0


def test_a_peer_that_does_not_repeat_is_counted_on_from_what_it_sends() -> None:
    arrivals = Arrivals()
    first, second = arrivals.arrived(("a",)), arrivals.arrived(("b",))
    assert first is not None
    assert second is not None
    arrivals.resuming()
    first.settle()
    third = arrivals.arrived(("c",))
    assert third is not None
    for ticket in (second, third):
        ticket.settle()
    assert arrivals.handled == 1


def test_an_acknowledgement_of_what_was_never_sent_is_an_error() -> None:
    departures = Departures()
    departures.add(b"x", None)
    with pytest.raises(WrongCount):
        departures.acknowledged(2)


def test_counts_go_on_after_two_to_the_thirty_two() -> None:
    departures = Departures()
    departures._acknowledged = 2**32 - 1
    departures.add(b"x", None)
    departures.add(b"y", None)
    departures.acknowledged(1)
    assert len(departures) == 0
    arrivals = Arrivals()
    arrivals.handled = 2**32 - 1
    ticket = arrivals.arrived(())
    assert ticket is not None
    ticket.settle()
    assert arrivals.handled == 0


def test_a_stanza_is_handled_when_all_that_was_made_of_it_is_taken() -> None:
    arrivals, departures = Arrivals(), Departures()
    ticket = arrivals.arrived(())
    assert ticket is not None
    ticket.add(2)
    departures.add(b"x", ticket)
    departures.add(b"y", ticket)
    ticket.settle()
    departures.acknowledged(1)
    assert arrivals.handled == 0
    departures.acknowledged(2)
    assert arrivals.handled == 1


# ------------------------------------------------------------ the stream
STREAM = (
    world.HEADER
    + "<message to='b' id='ü'><body>grüße &amp; 🦊</body></message> \n<presence/>"
    "<iq type='get' id='1'><q:x xmlns:q='urn:q' q:a=\"'\"/></iq><r xmlns='urn:xmpp:sm:3'/></stream:stream>".encode()
)


def seen(found: Header | Element | End) -> bytes:
    return found.octets if isinstance(found, Element) else type(found).__name__.encode()


@given(st.lists(st.integers(1, len(STREAM)), max_size=8))
def test_a_stream_is_read_the_same_however_it_is_cut(cuts: list[int]) -> None:
    whole = [seen(f) for f in StreamReader(1 << 14).read(STREAM)]
    assert whole[0] == b"Header"
    assert whole[-1] == b"End"
    assert whole[2:4] == [b"<presence/>", b"<iq type='get' id='1'><q:x xmlns:q='urn:q' q:a=\"'\"/></iq>"]
    reader, edges = StreamReader(1 << 14), sorted({0, *cuts, len(STREAM)})
    parts = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert [seen(f) for part in parts for f in reader.read(part)] == whole


@pytest.mark.parametrize(
    "octets",
    [
        b"<!DOCTYPE s [<!ENTITY a 'b'>]>" + world.HEADER,
        world.HEADER + b"<!-- comment -->",
        world.HEADER + b"<message><?pi x?></message>",
        world.HEADER + b"<message><foo:x/></message>",
        world.HEADER + b"<message>&undefined;</message>",
        world.HEADER + b"<a>" * 300,
        world.HEADER + b"<message a='1' a='2'/>",
        world.HEADER.replace(b"jabber:client", b"jabber:server"),
        world.HEADER.replace(b"etherx.jabber.org", b"example.org"),
        b"<message/>",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe<a>",
    ],
)
def test_what_xmpp_forbids_is_refused(octets: bytes) -> None:
    with pytest.raises(StreamBroken):
        list(StreamReader(1 << 14).read(octets))


def test_an_element_beyond_the_limit_is_refused_and_not_kept() -> None:
    reader = StreamReader(1000)
    list(reader.read(world.HEADER))
    list(reader.read(b"<message><body>"))
    for _ in range(100):
        list(reader.read(b"x" * 900 + b"<b/>"))
        assert len(reader._kept) < 4000
    with pytest.raises(TooLarge):
        list(reader.read(b"</body></message>"))


# ------------------------------------------------------------ the login
def said(stream: LocalStream, octets: bytes) -> bytes:
    stream.feed(octets)
    return stream.to_send()


def test_nothing_but_tls_is_offered_first() -> None:
    stream = world.opened()
    answer = said(stream, world.HEADER)
    assert b"starttls" in answer
    assert b"mechanism" not in answer
    assert b"policy-violation" in said(stream, world.plain())
    assert stream.closed


def test_what_comes_in_the_clear_after_the_wish_for_tls_is_thrown_away() -> None:
    stream = world.opened()
    assert world.kinds(stream.feed(world.HEADER + world.STARTTLS + world.plain())) == ["StartTls"]
    assert stream.feed(world.plain()) == []
    stream.secured({})
    stream.to_send()
    assert b"success" not in said(stream, world.HEADER)
    assert not stream.authenticated


@pytest.mark.parametrize(
    "octets", [world.BIND, b"<message to='b'/>", b"<enable xmlns='urn:xmpp:sm:3'/>", b"<presence/>"]
)
def test_nothing_is_done_for_a_client_that_has_not_logged_in(octets: bytes) -> None:
    stream = world.secured()
    events = stream.feed(octets)
    assert world.kinds(events) == ["Closed"]
    assert b"not-authorized" in stream.to_send()


def test_a_client_that_has_not_logged_in_is_given_little_room() -> None:
    stream = world.secured()
    octets = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + b"A" * 20_000 + b"</auth>"
    assert b"policy-violation" in said(stream, octets)


def test_a_login_leads_to_a_bound_resource() -> None:
    stream = world.secured()
    assert world.kinds(stream.feed(world.plain())) == ["Authenticated"]
    assert world.kinds(stream.feed(world.HEADER)) == ["OfferWanted"]
    stream.offer("<ver xmlns='urn:xmpp:features:rosterver'/>")
    assert b"rosterver" in stream.to_send()
    assert stream.feed(world.BIND) == [BindWanted("r")]
    stream.bound("alice@example.org/r")
    assert b"<jid>alice@example.org/r</jid>" in stream.to_send()
    (event,) = stream.feed(b"<message to='b'/>")
    assert isinstance(event, Arrived)
    assert event.octets == b"<message to='b'/>"


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("bob", world.PASSWORD), ("", ""), ("alice", "")])
def test_a_wrong_user_or_password_is_refused_three_times(user: str, password: str) -> None:
    stream = world.secured()
    for _ in range(2):
        assert world.kinds(stream.feed(world.plain(user, password))) == ["Refused"]
        assert b"not-authorized" in stream.to_send()
    assert b"policy-violation" in said(stream, world.plain(user, password))
    assert stream.closed


def test_the_whole_address_is_a_user_name_too() -> None:
    assert world.kinds(world.secured().feed(world.plain(world.JID))) == ["Authenticated"]


def test_a_resource_is_not_bound_before_the_features_were_offered() -> None:
    stream = world.secured()
    stream.feed(world.plain())
    assert world.kinds(stream.feed(world.HEADER + world.BIND)) == ["OfferWanted", "Closed"]


def test_another_domain_is_not_served() -> None:
    stream = world.opened()
    assert b"host-unknown" in said(stream, world.HEADER.replace(b"example.org", b"example.net"))


def test_a_session_request_is_answered_here() -> None:
    stream = world.bound()
    answer = said(stream, b"<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
    assert answer == b"<iq type='result' id=\"s\"/>"


@pytest.mark.parametrize(
    "octets", [b"<foo xmlns='urn:x'/>", b"<x:message xmlns:x='urn:x'/>", b"<message xmlns='urn:x'/>"]
)
def test_what_is_no_stanza_is_not_handed_on(octets: bytes) -> None:
    stream = world.bound()
    assert world.kinds(stream.feed(octets)) == ["Closed"]
    assert b"unsupported-stanza-type" in stream.to_send()


# ------------------------------------------------------------ TLS
@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """The local certificate."""
    private_folder(tmp_path / "c")
    return kept_certificate(tmp_path / "c", "example.org")


def shaken(pem: Path, version: int) -> tuple[SSL.Connection, TlsLayer]:
    """A client on OpenSSL, and our side, after their handshake."""
    ours = TlsLayer(server_context(pem))
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.load_verify_locations(str(pem))
    context.set_verify(SSL.VERIFY_PEER, lambda *a: bool(a[-1]))
    client = SSL.Connection(context, None)
    client.set_connect_state()
    for _ in range(6):
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        try:
            ours.received(client.bio_read(1 << 16))
        except SSL.WantReadError:
            break
        if answer := ours.to_send():
            client.bio_write(answer)
    return client, ours


def test_both_ends_of_tls_1_3_have_one_exporter(pem: Path) -> None:
    client, ours = shaken(pem, SSL.TLS1_3_VERSION)
    assert ours.exporter() == client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    client.send(b"x" * 10_000)
    assert ours.received(client.bio_read(1 << 16)) == b"x" * 10_000
    ours.send(b"y" * 200_000)
    got = b""
    client.bio_write(ours.to_send())
    while len(got) < 200_000:
        got += client.recv(1 << 16)
    assert got == b"y" * 200_000


def test_tls_1_2_is_served_without_channel_binding(pem: Path) -> None:
    _, ours = shaken(pem, SSL.TLS1_2_VERSION)
    assert ours.established
    assert ours.exporter() is None


def test_what_is_no_tls_is_refused(pem: Path) -> None:
    with pytest.raises(TlsBroken):
        TlsLayer(server_context(pem)).received(b"GET / HTTP/1.1\r\n\r\n")


def test_the_certificate_is_made_anew_for_another_domain_only(pem: Path) -> None:
    first = certificate_der(pem)
    assert certificate_der(kept_certificate(pem.parent, "example.org")) == first
    assert certificate_der(kept_certificate(pem.parent, "example.net")) != first


def test_the_local_password_is_made_once_and_not_guessable(tmp_path: Path) -> None:
    first, path = kept_password(tmp_path)
    assert kept_password(tmp_path) == (first, path)
    assert len(first) >= 24
    assert path.stat().st_mode & 0o777 == 0o600
