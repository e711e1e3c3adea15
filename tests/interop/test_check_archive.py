"""What `lockgate check` finds out about archives and offline storage, from real servers that have them or do not."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.outside_api import AccountRoutes, Route
from bridge.config.models import Component
from bridge.probe.archive import Person, probe_archives
from bridge.probe.hop import Hop
from rig.ejabberd import Ejabberd
from rig.prosody import Prosody
from rig.xmpp import Component as RigComponent
from rig.xmpp import XmppAccount, XmppServer
from tests.interop.test_xmpp_adapter import Client, RecordingEdge, half_for, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

WITH, NO_ARCHIVE, NOTHING = (True, True), (True, False), (False, False)
FRIEND, STRANGER = True, False


@pytest.fixture(
    scope="module", params=[(kind, *kept) for kind in ("prosody", "ejabberd") for kept in (WITH, NO_ARCHIVE, NOTHING)]
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XmppServer]:
    kind, offline, archive = request.param
    made = (Prosody if kind == "prosody" else Ejabberd)(
        tmp_path_factory.mktemp(kind), components=1, offline=offline, archive=archive
    )
    with made as running:
        yield running


async def befriend(component: RigComponent, account: XmppAccount, contact: str) -> None:
    """Alice adds the contact, and lets it see her presence."""
    half, edge = half_for(component), RecordingEdge()
    await half.connect(
        edge, [AccountRoutes("alice", account.jid, {}, (Route("bob", "matrix", "@bob:e.org", contact),))]
    )
    await until(lambda: "up" in edge.states(), "the component is accepted")
    client = await Client(account, "phone").log_in()
    client.send_presence(pto=contact, ptype="subscribe")
    await until(lambda: client.from_contact(contact, "available"), "the contact shows itself")
    await until(edge.snapshots, "the contact sees Alice's presence")
    await client.disconnect(wait=1.0)
    await half.close()


async def test_what_a_server_keeps_is_found_as_far_as_it_says(
    server: XmppServer, request: pytest.FixtureRequest, unique: Callable[[str], str], tmp_path: Path
) -> None:
    component, account = server.component(), server.account(unique("alice"))
    contact = f"bob@{component.jid}"
    given = Component.model_construct(
        jid=component.jid, host=component.host, port=component.port, secret_file=tmp_path / "unused"
    )

    async def hop() -> Hop:
        (found,) = await probe_archives(given, component.secret, {"alice": Person(account.jid, (contact,))})
        return found

    before = await hop()
    await befriend(component, account, contact)
    await asyncio.sleep(0)
    kind, *kept = request.node.callspec.params["server"]
    expected = {
        WITH: ("ok", "has an archive"),
        NO_ARCHIVE: ("warning", "has no archive"),
        NOTHING: ("warning", "keeps nothing"),
    }
    state, words = expected[tuple(kept)]
    after = await hop()
    assert (after.name, after.state) == ("archive alice", state)
    assert words in after.found
    assert ("mod_mam" in after.remedy and '"mam"' in after.remedy) == (state == "warning")
    if kind == "ejabberd":
        assert before == after, "it tells everybody"
    else:
        assert "could not be seen from here" in before.found
        assert before.state == ("warning" if tuple(kept) == NOTHING else "skipped")
        assert "add a contact" in before.remedy
