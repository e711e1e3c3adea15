"""Service discovery (XEP-0030, 0115) on both sides: which peers have ESessions, and telling peers that we have."""

import asyncio
from collections.abc import Callable, Sequence
from html import escape

from adapters.companion.names import FEATURES, LOCAL, NS_ESESSION, NS_STANZA_ENCRYPTION, Ability, Able, bare
from companion.caps import NS_CAPS, NS_INFO, Caps, Info, read_caps, read_info
from companion.hook import Action, ToClient, ToServer
from companion.peek import Peek, written

NODE = "urn:lockgate:companion"
ANSWER_WITHIN_S = 4.0
CLIENT_WITHIN_S = 2.0
KNOWN = 500
PEERS = 5000
"""Addresses of which it is remembered that they are not able to; beyond that the oldest is asked again some time."""
_ASKED = "lockgate-info-"
_OWN = "lockgate-own-"
_NS_MUC_USER = "http://jabber.org/protocol/muc#user"
_ABLE = frozenset({NS_ESESSION, NS_STANZA_ENCRYPTION})


class Disco:
    """What is known of peers and of the client itself. It lives as long as a session."""

    def __init__(self, act: Callable[[Sequence[Action]], None], heard: Callable[[Able], None]) -> None:
        self._act = act
        self._heard = heard
        self._abilities: dict[str, Ability] = {}
        self._by_hash: dict[tuple[str, str], bool] = {}
        """Only of answers that were checked against their hash: nobody can speak for others."""
        self._asked: dict[str, tuple[str, Caps | None]] = {}
        self._number = 0
        self.begun("")

    def begun(self, jid: str) -> None:
        """A session stands: nothing is known of peers."""
        self._jid = jid
        self._domain = bare(jid).rpartition("@")[2]
        self._abilities.clear()
        self._asked.clear()
        self._announced: Caps | None = None
        self._info: Info | None = None
        self._held: list[Peek] = []
        self._own_asked: str | None = None
        self._forwarded: dict[str, str] = {}

    def able(self, jid: str) -> bool:
        """Whether that address is known to have ESessions."""
        return self._abilities.get(jid) is Ability.YES

    # ------------------------------------------------------------ peers
    def inquire(self, jid: str) -> None:
        """The enclave wants to know what an address is able to."""
        self._ask(jid, None)

    def _learn(self, jid: str, ability: Ability) -> None:
        if self._abilities.get(jid) is ability:
            return
        if ability is Ability.GONE:
            if self._abilities.pop(jid, None) is None:
                return
        else:
            self._abilities[jid] = ability
            if len(self._abilities) > PEERS:
                oldest = next((known for known, a in self._abilities.items() if a is Ability.NO), jid)
                del self._abilities[oldest]
        self._heard(Able(jid, ability))

    def _ask(self, jid: str, caps: Caps | None) -> None:
        self._number += 1
        id_ = f"{_ASKED}{self._number}"
        self._asked[id_] = (jid, caps)
        self._learn(jid, Ability.ASKING)
        node = f" node='{escape(caps.name)}'" if caps else ""
        query = f"<query xmlns='{NS_INFO}'{node}/>"
        self._act([ToServer(f"<iq type='get' to='{escape(jid)}' id='{id_}'>{query}</iq>".encode())])
        asyncio.get_running_loop().call_later(ANSWER_WITHIN_S, self._unanswered, id_)

    def _unanswered(self, id_: str) -> None:
        if id_ in self._asked:
            jid, _ = self._asked.pop(id_)
            self._learn(jid, Ability.NO)

    def from_server(self, seen: Peek, stanza: bytes) -> Sequence[Action] | None:
        """What becomes of a stanza of the server's; None: it is not about this."""
        if seen.name == "presence":
            self._presence(seen)
        elif seen.name == "iq" and seen.id in self._asked and seen.type in ("result", "error"):
            self._answered(seen)
            return []
        elif seen.name == "iq" and seen.type == "get" and (query := seen.child(NS_INFO, "query")) is not None:
            return self._queried(seen, query.get("node"))
        return None

    def _presence(self, seen: Peek) -> None:
        jid = seen.from_
        if bare(jid) in (bare(self._jid), "") or seen.child(_NS_MUC_USER, "x") is not None or "/" not in jid:
            return
        if seen.type == "unavailable":
            self._learn(jid, Ability.GONE)
        elif not seen.type:
            caps = read_caps(seen.child(NS_CAPS, "c"))
            known = None if caps is None else self._by_hash.get((caps.hash, caps.ver))
            if known is not None:
                self._learn(jid, Ability.YES if known else Ability.NO)
            elif jid not in self._abilities:
                self._ask(jid, caps)

    def _answered(self, seen: Peek) -> None:
        jid, caps = self._asked[seen.id]
        if seen.from_ not in (jid, ""):
            return  # somebody else's guess
        del self._asked[seen.id]
        query = seen.child(NS_INFO, "query")
        if query is None or seen.type == "error":
            self._learn(jid, Ability.NO)
            return
        info = read_info(query)
        able = set(info.features) >= _ABLE
        # An answer may be made to have the hash of another that says `able` elsewhere: it is believed for one only.
        certain = able or not all(feature in info.verification for feature in _ABLE)
        if caps is not None and certain and info.hash(caps.hash) == caps.ver and len(self._by_hash) < KNOWN:
            self._by_hash[caps.hash, caps.ver] = able
        self._learn(jid, Ability.YES if able else Ability.NO)

    # ------------------------------------------------------------ ourselves
    @property
    def _merged(self) -> Info | None:
        return None if self._info is None else self._info.with_features(FEATURES)

    def _queried(self, seen: Peek, node: str | None) -> Sequence[Action] | None:
        """Somebody asks what we are able to: what the client is, and what the companion adds."""
        merged, announced = self._merged, self._announced
        own = None if merged is None else f"{NODE}#{merged.hash('sha-1')}"
        if merged is not None and node in (None, "", own, announced.name if announced else None):
            return [ToServer(seen.result(merged.payload(node)))]
        if (not node or node.startswith(NODE)) and len(self._forwarded) < KNOWN:
            self._forwarded[seen.id] = node or ""
            query = f"<query xmlns='{NS_INFO}'/>"
            asked = f"<iq type='get' from='{escape(seen.from_)}' to='{escape(seen.to)}' id='{escape(seen.id)}'>"
            return [ToClient(f"{asked}{query}</iq>".encode())]
        return None

    def from_client(self, seen: Peek, stanza: bytes) -> Sequence[Action] | None:
        """What becomes of a stanza of the client's; None: it is not about this."""
        if seen.name == "presence" and not seen.to and not seen.type:
            return self._presented(seen)
        if seen.name == "iq" and seen.type in ("result", "error"):
            if seen.id == self._own_asked and seen.is_to(LOCAL):
                return self._introduced(seen)
            if seen.id in self._forwarded and (query := seen.child(NS_INFO, "query")) is not None:
                node = self._forwarded.pop(seen.id)
                merged = read_info(query).with_features(FEATURES)
                answer = f"<iq type='result' to='{escape(seen.to)}' id='{escape(seen.id)}'>".encode()
                return [ToServer(answer + merged.payload(node or None) + b"</iq>")]
        return None

    def _presented(self, seen: Peek) -> Sequence[Action] | None:
        """The client announces itself: with our features in it, which takes asking it for its own first."""
        caps = read_caps(seen.child(NS_CAPS, "c"))
        if caps is None:
            return None
        if caps == self._announced and self._info is not None:
            return [self._announcing(seen)]
        self._held.append(seen)
        if caps == self._announced and self._own_asked is not None:
            return []
        self._announced, self._info = caps, None
        self._number += 1
        self._own_asked = f"{_OWN}{self._number}"
        query = f"<query xmlns='{NS_INFO}' node='{escape(caps.name)}'/>"
        start = f"<iq type='get' from='{LOCAL}/lockgate' to='{escape(self._jid)}' id='{self._own_asked}'>"
        asyncio.get_running_loop().call_later(CLIENT_WITHIN_S, self._not_introduced, self._own_asked)
        return [ToClient(f"{start}{query}</iq>".encode())]

    def _introduced(self, seen: Peek) -> Sequence[Action]:
        query = seen.child(NS_INFO, "query")
        if query is not None and seen.type == "result":
            self._info = read_info(query)
        self._own_asked = None
        held, self._held = self._held, []
        return [self._announcing(presence) for presence in held]

    def _not_introduced(self, asked: str) -> None:
        if self._own_asked == asked:
            self._own_asked = None
            held, self._held = self._held, []
            self._act([self._announcing(presence) for presence in held])

    def _announcing(self, seen: Peek) -> Action:
        """The client's presence, with the hash of what it and the companion are able to."""
        merged = self._merged
        old = seen.child(NS_CAPS, "c")
        if merged is None or old is None:
            return ToServer(written(seen.element).encode())
        old.attrib.clear()
        old.attrib.update(hash="sha-1", node=NODE, ver=merged.hash("sha-1"))
        return ToServer(written(seen.element).encode())
