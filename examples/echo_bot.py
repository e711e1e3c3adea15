"""A bot that repeats what it is told, encrypted: python echo_bot.py JID PASSWORD-FILE CONTACT [HOST PORT CA-FILE]"""

import asyncio
import ssl
import sys
from pathlib import Path

from slixmpp import ClientXMPP

import client.plugin
from client.events import MessageReceived, SessionStarted


class EchoBot(ClientXMPP):
    def __init__(self, jid: str, password: str, contact: str) -> None:
        super().__init__(jid, password)
        self.register_plugin("xep_0116", {"store": f"{jid.replace('/', '_')}.db"}, module=client.plugin)
        self.sessions, self.contact = client.plugin.sessions_of(self), contact
        self.add_event_handler("session_start", self.joined)
        self.add_event_handler("esession_started", self.started)
        self.add_event_handler("esession_message", self.echo)

    async def joined(self, _: object) -> None:
        await self.get_roster()
        self.send_presence()
        self.send_presence_subscription(pto=self.contact)

    def started(self, event: SessionStarted) -> None:
        if not event.view.verified:
            self.sessions.send(event.jid, f"We are not verified yet. I see {event.view.sas}; what do you see?")

    def echo(self, event: MessageReceived) -> None:
        self.sessions.send(event.jid, f"You said: {event.body}")


if __name__ == "__main__":
    jid, password_file, contact, *server = sys.argv[1:]
    bot = EchoBot(jid, Path(password_file).read_text().strip(), contact)
    if server:
        bot.ssl_context, bot.enable_direct_tls = ssl.create_default_context(cafile=server[2]), False
    bot.connect(*(server[0], int(server[1])) if server else ())
    asyncio.get_event_loop().run_forever()
