"""What the parts of a configuration say about each other. Works on the plain document, so that mistakes here are
reported together with mistakes of shape elsewhere; whatever has the wrong shape is passed over."""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from os.path import normpath

from adapters.registry import ENTRY
from bridge.config.appservice import contradictions as appservice_contradictions
from bridge.config.esession import contradictions
from bridge.config.jid import NotAnAddress, bare_jid, domainpart
from bridge.config.mxid import user_id
from bridge.config.networks import ASSURANCES, FAR_NETWORKS, RESERVED, NetworkFacts, other_network
from bridge.config.wording import SECRET_WORDS, Path, clipped, dotted, last_word, nearest, shown
from bridge.errors import Problem

Group = dict[str, object]


def _group(value: object) -> Group:
    return value if isinstance(value, dict) else {}


def _other_address(account: Group, network: str) -> object:
    return _group(_group(account.get("networks")).get(network)).get("address")


def _normal(normal: Callable[[str], str], value: object) -> str | None:
    """The normal form of an address, None when it is none (the models report that)."""
    if not isinstance(value, str):
        return None
    try:
        return normal(value)
    except NotAnAddress:
        return None


@dataclass(frozen=True, slots=True)
class Relations:
    """The checks, over one document. `line_of` gives the line of a place, `excused` lists places whose absence has
    been reported already."""

    document: Group
    line_of: Callable[[Path], int]
    excused: Set[Path] = frozenset()

    def problems(self) -> Iterator[Problem]:
        """Every contradiction."""
        yield from self._users()
        for name, adapter in self._adapters().items():
            yield from self._adapter(("adapters", name), _group(adapter))
        for name, account in _group(self.document.get("accounts")).items():
            if isinstance(account, dict):
                yield from self._account(("accounts", name), account)

    def _problem(self, code: str, path: Path, found: str, remedy: str) -> Problem:
        return Problem(code, dotted(path), found, remedy, self.line_of(path))

    def _adapters(self) -> Group:
        return _group(self.document.get("adapters"))

    def _facts(self, network: str) -> NetworkFacts:
        """A built-in network's, or those of one that an adapter is named for."""
        declared = _group(self._adapters().get(network)).get("assurance")
        return FAR_NETWORKS.get(network) or other_network(declared)

    def _adapter(self, path: Path, adapter: Group) -> Iterator[Problem]:
        """Another package's adapter: its network's name is its own, and a setting has one value, which is no secret."""
        if path[-1] in RESERVED:
            found, remedy = f"{shown(path[-1])} is built in", "Use an adapter for a network of another name."
            yield self._problem("built-in", path, found, remedy)
        settings, secret_files = (_group(adapter.get(key)) for key in ("settings", "secret_files"))
        for name in settings:
            place = (*path, "settings", name)
            in_a_file = f"secret_files: {{{clipped(name)}: PATH}}"
            if name in secret_files:
                found = f"“{clipped(name)}” is among the secret_files as well"
                yield self._problem("duplicate-setting", place, found, "Keep one of the two.")
            elif last_word(name) in SECRET_WORDS:
                found = f"“{clipped(name)}” looks like a secret (not shown)"
                remedy = f"Put it into a file of its own (mode 0600) and write {in_a_file}, beside settings."
                yield self._problem("secret-setting", place, found, remedy)
        for key, group in (("settings", settings), ("secret_files", secret_files)):
            if ENTRY in group:
                found = f"no setting can have the name “{ENTRY}”"
                yield self._problem("setting-name", (*path, key, ENTRY), found, "Remove it.")

    def _users(self) -> Iterator[Problem]:
        """XMPP users: one account each, and none of the component's own domain."""
        component = _normal(domainpart, _group(_group(self.document.get("xmpp")).get("component")).get("jid"))
        seen: dict[str, str] = {}
        yield from self._once("user", "the Matrix user", "Put all contacts of one user into one account.")
        yield from self._once("session_file", "the session file", "Give each account a file of its own.")
        for name, account in _group(self.document.get("accounts")).items():
            path = ("accounts", name, "xmpp")
            jid = _normal(bare_jid, _group(account).get("xmpp"))
            if jid is None:
                continue
            if jid in seen:
                found = f"{shown(jid)} is already the user of the account “{clipped(seen[jid])}”"
                yield self._problem("duplicate-user", path, found, "Put all contacts of one user into one account.")
            seen.setdefault(jid, name)
            if jid.partition("@")[2] == component:
                found = f"the user's domain {shown(component)} is the component's own"
                remedy = (
                    "Give the component a domain of its own, for example matrix.example.org for users @example.org."
                )
                yield self._problem("component-is-user-domain", path, found, remedy)

    def _once(self, key: str, what: str, remedy: str) -> Iterator[Problem]:
        """A Matrix user is one person's, and so is their login."""
        seen: dict[str, str] = {}
        for name, account in _group(self.document.get("accounts")).items():
            value = _group(_group(account).get("matrix")).get(key)
            same = _normal(user_id if key == "user" else normpath, value)
            if same is not None and same in seen:
                found = f"{shown(value)} is already {what} of the account “{clipped(seen[same])}”"
                yield self._problem("duplicate-login", ("accounts", name, "matrix", key), found, remedy)
            elif same is not None:
                seen[same] = name

    def _account(self, path: Path, account: Group) -> Iterator[Problem]:
        others = account.get("networks", {})
        networks = [network for network in FAR_NETWORKS if network in account]
        networks += [network for network in _group(others) if network not in networks]
        if not networks and isinstance(others, dict):
            found = "the account has no far network"
            remedy = "Give it a login, for example matrix: {user: …, password_file: …}."
            yield self._problem("no-network", path, found, remedy)
        yield from self._esession((*path, "esession"), {}, account)
        if "matrix" in account:
            yield from self._matrix(path, _group(account.get("matrix")))
        for other in _group(others):
            yield from self._other((*path, "networks", other), other)
        seen: dict[tuple[str, str], str] = {}
        for name, contact in _group(account.get("contacts")).items():
            place = (*path, "contacts", name)
            yield from self._esession((*place, "esession"), _group(account.get("esession")), _group(contact))
            network = self._network(_group(contact), networks)
            if network is None:
                yield from self._unclear_network(place, _group(contact), networks)
            else:
                yield from self._contact(place, _group(contact), network, account, seen)

    def _esession(self, path: Path, account: Group, holder: Group) -> Iterator[Problem]:
        """Settings that contradict each other: those written here, beside those of the account."""
        written = _group(holder.get("esession"))
        if written:
            for key, found, remedy in contradictions({**account, **written}):
                at = key if key in written else next(iter(written))
                yield self._problem("esession", (*path, at), found, remedy)

    def _other(self, path: Path, network: str) -> Iterator[Problem]:
        """A login on a network for which an adapter is named."""
        if network in RESERVED:
            found = f"{shown(network)} is built in"
            beside = f"Write {network}: {{…}} beside “networks”." if network in FAR_NETWORKS else "Remove it."
            yield self._problem("built-in", path, found, beside)
        elif network not in self._adapters():
            guess = nearest(network, list(self._adapters()))
            hint = f"Did you mean “{guess}”? " if guess else ""
            remedy = f"{hint}Name one at the outermost level: adapters: {{{clipped(network)}: {{outside: …}}}}"
            yield self._problem("no-adapter", path, f"no adapter is named for {shown(network)}", remedy)

    def _matrix(self, path: Path, login: Group) -> Iterator[Problem]:
        if "matrix" not in self.document:
            found = "the account uses Matrix, but no homeserver is set"
            remedy = "Write at the outermost level: matrix: {homeserver: https://matrix.example.org}"
            yield self._problem("no-homeserver", (*path, "matrix"), found, remedy)
        service = _group(self.document.get("matrix")).get("appservice")
        for code, key, found, remedy in appservice_contradictions(service, login):
            yield self._problem(code, (*path, "matrix", key), found, remedy)
        files = ("password_file", "token_file", "session_file")
        ways = (*files, *(["appservice"] if login.get("appservice") is not False else []))
        given = [key for key in ways if key in login or (*path, "matrix", key) in self.excused]
        if login and len(given) != 1:
            found = f"there are both {' and '.join(given[:2])}" if given else "there is no way to log in"
            remedy = "Give one of password_file, session_file, token_file and appservice."
            yield self._problem("login", (*path, "matrix"), found, remedy)
        if "device" in login and "token_file" not in login:
            found = "a device ID goes with an access token only"
            yield self._problem("device", (*path, "matrix", "device"), found, "Remove it; the login makes a device.")

    @staticmethod
    def _network(contact: Group, networks: list[str]) -> str | None:
        """The contact's network; None when that cannot be said."""
        if "network" in contact:
            named = contact["network"]
            return named if isinstance(named, str) and named in networks else None
        return networks[0] if len(networks) == 1 else None

    def _unclear_network(self, path: Path, contact: Group, networks: list[str]) -> Iterator[Problem]:
        named = contact.get("network")
        known = [*FAR_NETWORKS, *self._adapters()]
        if isinstance(named, str) and named not in known:
            guess = nearest(named, known)
            hint = f"Did you mean “{guess}”? " if guess else ""
            remedy = f"{hint}Choices: {', '.join(map(clipped, known))}. Others need an adapter (adapters)."
            yield self._problem("not-a-choice", (*path, "network"), f"{shown(named)} is not one of the choices", remedy)
        elif isinstance(named, str) and networks:
            found = f"the account has no login for {shown(named)}"
            remedy = f"Add the login to the account, or use one it has: {', '.join(map(clipped, networks))}."
            yield self._problem("no-login", (*path, "network"), found, remedy)
        elif "network" not in contact and len(networks) > 1:
            found = "the account has several far networks, and the contact does not say which"
            yield self._problem("which-network", path, found, f"Add network: {' or '.join(map(clipped, networks))}.")

    def _contact(
        self, path: Path, contact: Group, network: str, account: Group, seen: dict[tuple[str, str], str]
    ) -> Iterator[Problem]:
        yield from self._require(path, contact, network)
        if "trust" in contact and network != "matrix":
            found = f"“trust” is about devices on Matrix, and the contact is on “{clipped(network)}”"
            yield self._problem("trust", (*path, "trust"), found, "Remove it.")
        written = contact.get("address")
        if not isinstance(written, str):
            return
        facts, place = self._facts(network), (*path, "address")
        reason: NotAnAddress | None = None
        address = ""
        try:
            address = facts.address(written)
        except NotAnAddress as error:
            reason = error
        if reason is not None:
            found = f"{shown(written)} is not {facts.address_is} that can be used: it {reason.reason}"
            like = (
                f"Perhaps {shown(reason.suggestion)} is meant."
                if reason.suggestion
                else f"It looks like “{facts.example}”."
            )
            yield self._problem("address", place, found, like)
            return
        if address in (_group(account.get(network)).get("user"), _other_address(account, network)):
            found = f"{shown(address)} is the account's own user"
            yield self._problem("own-address", place, found, "Write the address of the person to talk to.")
        other = seen.setdefault((network, address), str(path[-1]))
        if other != path[-1]:
            found = f"{shown(address)} is already the contact “{clipped(other)}” of this account"
            yield self._problem("duplicate-address", place, found, "Keep one of the two contacts.")

    def _require(self, path: Path, contact: Group, network: str) -> Iterator[Problem]:
        required = contact.get("require", ASSURANCES[0])
        facts = self._facts(network)
        if required not in ASSURANCES or facts.gives(str(required)):
            return
        place = (*path, "require") if "require" in contact else path
        found = f"“{clipped(network)}” gives at most {shown(facts.assurance)}, {shown(required)} is required"
        if "require" not in contact:
            found += " (by default)"
        remedy = f"Write require: {facts.assurance}, if that is enough for this contact."
        yield self._problem("require", place, found, remedy)
