"""Whom the user talks to, as far as it is known: comparisons, public keys, what sessions used to be like."""

import contextlib
from dataclasses import replace
from typing import TypeVar

import msgspec

from client.events import Warned
from client.machine import Machine
from client.talks import Talk
from crypto.errors import Misuse
from crypto.esession import conversation as esession
from crypto.esession.associations import WARNINGS, Known, Verdict, accept, assess, keys_of, remember
from crypto.esession.conversation import Outcome
from crypto.esession.history import Strength, best, weakenings
from crypto.esession.identification import Judge, anyone
from crypto.esession.identities import PublicIdentity
from crypto.esession.refusals import KeyRefused
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms

_KEYS, _STRENGTH = "public-keys", "strength"
_T = TypeVar("_T")


class Trust(Machine):
    """What the user said about the contact, and what is noticed."""

    # ------------------------------------------------------------ the user's word
    def verify(self, *, weak_string: bool = False) -> bool:
        """The user compared the SAS, or the key's fingerprint where there is none, and it was the same.

        `weak_string`: the user was told what a string of the XEP's own kind is worth (`SessionView.weak_string`). False
        when no session is active, or nothing in it can be compared, or the string is weak and the user does not know.
        """
        talk = self._talks.current
        session = None if talk is None else talk.conversation.session
        if talk is None or session is None or not (session.sas or talk.public):
            return False
        if session.weak_string and not weak_string:
            return False
        if session.sas:
            talk.conversation, retained = esession.confirm(talk.conversation, self._retained())
            self._keep(retained)
        else:
            self._mark(talk, verified=True)
        if talk.public is not None and not session.weak_string:
            with contextlib.suppress(Misuse):  # no room for another key: the string still counts
                self._keep_known(accept(self._known(), self.jid, talk.public, validated=True))
            talk.key = "validated"
        self._changed()
        return True

    def unverify(self) -> bool:
        """Take all that back: no session with the contact, and none that follows from one, counts as compared.

        False when there was nothing to take back.
        """
        retained, known = self._retained(), self._known()
        mine = tuple(replace(k, validated=False) if self.jid in k.jids else k for k in known.keys)
        plain = Retained(tuple(replace(secret, verified=False) for secret in retained.secrets))
        done = plain != retained or mine != known.keys or any(t.verified for t in self._talks)
        if plain != retained:
            self._keep(plain)
        if mine != known.keys:
            self._keep_known(Known(mine))
        for talk in self._talks:
            self._mark(talk, verified=False)
            if talk.key == "validated":
                talk.key = str(Verdict.SAME)
        self._changed()
        return done

    def _mark(self, talk: Talk, *, verified: bool) -> None:
        session = talk.conversation.session
        if session is not None:
            agreed = replace(session.agreed, verified=verified)
            talk.conversation = replace(talk.conversation, session=replace(session, agreed=agreed))

    # ------------------------------------------------------------ what a session shows
    def _terms(self, talk: Talk | None = None) -> Terms:
        """The terms, with the keys that the contact may name by their fingerprints."""
        terms = self._settings.terms
        if talk is not None and talk.single:
            return replace(terms, own_keys=("key",), peer_keys=("key",), password=None)
        if "hash" not in terms.peer_keys:
            return terms
        known = tuple(key.public for key in keys_of(self._known(), self.jid)) or terms.known_keys
        ways = terms.peer_keys if known else tuple(w for w in terms.peer_keys if w != "hash") or terms.peer_keys
        return replace(terms, known_keys=known, peer_keys=ways)

    def _judge(self, talk: Talk | None) -> Judge:
        """Whom an acknowledgement may go to: who has the key that the message came with."""

        def same_key(public: PublicIdentity | None, _certificates: tuple[bytes, ...]) -> None:
            if talk is None or public != talk.public:
                raise KeyRefused("resp_pubkey")

        return same_key if talk is not None and talk.single else anyone

    def _recognised(self, talk: Talk, outcome: Outcome) -> None:
        """A new session: whose key it is, and whether it has all that earlier ones had."""
        session = talk.conversation.session
        assert session is not None
        talk.public = outcome.identity
        talk.key = self._associated(outcome.identity)
        talk.weaker = tuple(str(kind) for kind in weakenings(self._strength(), session.agreed))
        if talk.key == "validated" and not session.verified:
            if session.sas:
                talk.conversation, retained = esession.confirm(talk.conversation, self._retained())
                self._keep(retained)
            else:
                self._mark(talk, verified=True)

    def _warn(self, talk: Talk) -> None:
        """What the user must see, once the session was announced."""
        if talk.key in {str(verdict) for verdict in WARNINGS}:
            self._around.notify(Warned(self.jid, str(talk.key), self.view()))
        if talk.weaker:
            self._around.notify(Warned(self.jid, "weaker", self.view()))

    def _associated(self, public: PublicIdentity | None) -> str | None:
        """Note whose key it is; what was known of it."""
        known = self._known()
        assessment = assess(known, self.jid, public)
        if public is not None and (after := remember(known, self.jid, public)) != known:
            self._keep_known(after)
        if not assessment.verdicts:
            return None
        if assessment.validated:
            return "validated"
        order = (Verdict.CHANGED, Verdict.SHARED, Verdict.ABSENT, Verdict.NEW, Verdict.SAME)
        return next(str(verdict) for verdict in order if verdict in assessment.verdicts)

    def _counts(self, talk: Talk) -> None:
        """The session is proved by a stanza of the peer's: later ones are measured by it."""
        session = talk.conversation.session
        if talk.counted or session is None or not session.confirmed:
            return
        talk.counted = True
        before = self._strength()
        if (after := best(before, session.agreed)) != before:
            self._store.keep(self.jid, _STRENGTH, msgspec.msgpack.encode(after))

    # ------------------------------------------------------------ what is kept
    def _known(self) -> Known:
        return _decoded(self._store.kept("", _KEYS), Known) or Known()

    def _keep_known(self, known: Known) -> None:
        self._store.keep("", _KEYS, msgspec.msgpack.encode(known))

    def _strength(self) -> Strength | None:
        return _decoded(self._store.kept(self.jid, _STRENGTH), Strength)


def _decoded(octets: bytes | None, kind: type[_T]) -> _T | None:
    return None if octets is None else msgspec.msgpack.decode(octets, type=kind)
