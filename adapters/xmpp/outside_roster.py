"""Who is mapped to whom, and which resources of each account are there. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp.names import MAX_RESOURCES, Resources, bare


@dataclass(slots=True)
class Resource:
    """One available resource of an account's user."""

    jid: str
    priority: int
    order: int
    """Rises with every presence: the most recent of equals goes first."""
    caps: str | None
    able: bool | None = None
    """Whether it announces ESessions; None while that is being asked."""
    interests: frozenset[str] = frozenset()
    """Nodes of whose changes it wants to be told (XEP-0163, `+notify`)."""
    seen_by: set[str] = field(default_factory=set)
    """The contacts (bare, or the component) it showed itself to."""


class Roster:
    """The contact map as addresses, and the presence of the accounts' users."""

    def __init__(self, routes: Iterable[AccountRoutes]) -> None:
        self._accounts: dict[str, AccountRoutes] = {}
        self._aliases: dict[str, dict[str, Route]] = {}
        self._resources: dict[str, dict[str, Resource]] = {}
        self._order = 0
        self.remap(routes)

    def remap(self, routes: Iterable[AccountRoutes]) -> None:
        """Take a new contact map; what is known of presence stays."""
        routes = list(routes)
        self._accounts = {bare(r.near_address): r for r in routes}
        self._aliases = {r.account: {bare(c.alias): c for c in r.contacts} for r in routes}
        self._resources = {r.account: self._resources.get(r.account, {}) for r in routes}

    @property
    def accounts(self) -> Iterable[AccountRoutes]:
        """All accounts."""
        return self._accounts.values()

    def account_of(self, jid: str) -> AccountRoutes | None:
        """The account whose user has this JID."""
        return self._accounts.get(bare(jid))

    def contact(self, account: str, jid: str) -> Route | None:
        """The account's contact that appears under this JID."""
        return self._aliases.get(account, {}).get(bare(jid))

    def forget_presence(self) -> None:
        """The stream was lost: nobody's presence is known."""
        self._resources = {account: {} for account in self._resources}

    def available(self, account: str, jid: str, to: str, priority: int, caps: str | None) -> Resource | None:
        """A resource showed itself; None when the account has more of them than anyone needs."""
        known = self._resources[account]
        found = known.get(jid)
        if found is None:
            if len(known) >= MAX_RESOURCES:
                return None
            found = known[jid] = Resource(jid, priority, 0, caps)
        if found.caps != caps:
            found.caps, found.able = caps, None
        self._order += 1
        found.priority, found.order = priority, self._order
        found.seen_by.add(bare(to))
        return found

    def unavailable(self, account: str, jid: str, to: str) -> bool:
        """A resource went, as far as one contact can see; True when nobody sees it any longer."""
        found = self._resources[account].get(jid)
        if found is None:
            return False
        found.seen_by.discard(bare(to))
        if found.seen_by:
            return False
        del self._resources[account][jid]
        return True

    def resource(self, account: str, jid: str) -> Resource | None:
        """What is known of a resource."""
        return self._resources.get(account, {}).get(jid)

    def resources(self, account: str) -> list[Resource]:
        """All of the account's."""
        return list(self._resources.get(account, {}).values())

    def snapshot(self, account: str, *, complete: bool) -> Resources:
        """The account's resources whose abilities are known, the most available first."""
        known = [r for r in self._resources.get(account, {}).values() if r.able is not None]
        known.sort(key=lambda r: (-r.priority, -r.order))
        return Resources(tuple((r.jid, bool(r.able)) for r in known), complete)
