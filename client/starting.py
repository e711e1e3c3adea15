"""When and with whom a session is negotiated: resources, pauses, limits."""

from client.pace import Backoff
from client.store import Store
from client.surroundings import ContactSettings, Surroundings
from client.talks import Talk
from client.within import Within
from crypto.esession import conversation as esession
from crypto.esession.conversation import Outcome
from crypto.esession.profiles import Profile


class Starting(Within):
    """Begins negotiations with one contact, and says which of its own may be answered."""

    def __init__(self, jid: str, store: Store, around: Surroundings, settings: ContactSettings) -> None:
        super().__init__(jid, store, around, settings)
        self._patience = Backoff(settings.negotiation_s, settings.negotiation_most_s)
        self._pause = Backoff(settings.pause_s, settings.pause_most_s)
        self._start_at_s = 0.0
        self._starts, self._requests = settings.starts, settings.requests
        self._wanted = False
        self._quiet = False
        self._presence_seen = False

    def _wants_session(self) -> bool:
        return self._talks.current is None and not self._quiet and (self._wanted or self.waiting > 0)

    def _target(self, now: float) -> str | None:
        if self._resources:
            return next(reversed(self._resources))
        after, since = self._settings.bare_after_s, self._online_at_s
        if after is None or since is None or self._presence_seen:
            self._start_at_s = float("inf")
        elif now >= since + after:
            return self.jid
        else:
            self._start_at_s = max(self._start_at_s, since + after)
        return None

    def _negotiate(self) -> None:
        now = self._around.now()
        if now < self._start_at_s or (target := self._target(now)) is None:
            return
        self._starts = self._starts.at(now)
        if self._starts.empty:
            self._start_at_s = now + 1 / self._starts.per_s
            return
        known = self._store.profile(self.jid)
        announced = self._resources.get(target)
        self._initiate(target, announced or (None if known is None else Profile(known)), 0)

    def _initiate(self, target: str, profile: Profile | None, attempt: int) -> None:
        self._starts = self._starts.at(self._around.now()).used()
        thread = self._around.new_id("thread")
        outcome = esession.initiate(thread, self._terms(), self._around.draw, profile=profile, attempt=attempt)
        assert outcome.conversation is not None
        talk = Talk(outcome.conversation, target, self._around.now(), ours=True)
        self._underway(talk, outcome)

    def _underway(self, talk: Talk, outcome: Outcome) -> None:
        """A step of a negotiation: the other side has to answer in time."""
        talk.deadline_s = self._around.now() + self._patience.pause_s
        self._talks.keep(talk)
        self._reply(talk.peer, talk.conversation.thread, outcome, talk)

    def _crossing(self, talk: Talk) -> None:
        """The other end began this one while ours with it was under way: each remembers the other."""
        asked = (talk.peer, talk.peer.partition("/")[0])
        ours = next((t for t in self._talks.negotiating() if t.ours and t.peer in asked), None)
        if ours is not None:
            ours.rival, talk.rival = talk.conversation.thread, ours.conversation.thread

    def _yields(self, talk: Talk) -> bool:
        """Of two sessions that were begun at once the one of the smaller thread stays; whether `talk` is the other.

        Both ends know both threads, so both settle on the same one without a word (docs/decisions/0096).
        """
        rival = self._talks.get(talk.rival)
        if rival is None or not rival.active or not (talk.letter and rival.letter) or rival.peer != talk.peer:
            return False
        return rival.conversation.thread < talk.conversation.thread and rival is self._talks.current

    def _may_answer(self) -> bool:
        self._requests = self._requests.at(self._around.now())
        if self._requests.empty:
            return False
        self._requests = self._requests.used()
        return True

    def _later(self) -> None:
        """A negotiation came to nothing: the next one after a pause, with more patience."""
        self._start_at_s = self._around.now() + self._pause.pause_s
        self._pause, self._patience = self._pause.failed(), self._patience.failed()
