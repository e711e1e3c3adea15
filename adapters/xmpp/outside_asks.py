"""Questions of the component to services of the user's server, and their answers."""

import asyncio
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.xmpp.names import bare
from adapters.xmpp.outside_stanzas import iq_get

ANSWER_WITHIN_S = 30.0


@dataclass(slots=True)
class Asks:
    """Questions under way. What comes from others than who was asked is no answer."""

    write: Callable[[bytes], object]
    _waiting: "dict[str, tuple[str, asyncio.Future[ET.Element]]]" = field(default_factory=dict)

    async def ask(self, sender: str, to: str, inner: str, *, within_s: float = ANSWER_WITHIN_S) -> ET.Element | None:
        """The `<iq/>` of type result or error that answers, None when there is none in time."""
        id_ = f"ask-{secrets.token_hex(8)}"
        answer: asyncio.Future[ET.Element] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = (bare(to), answer)
        self.write(iq_get(sender, to, id_, inner))
        try:
            return await asyncio.wait_for(answer, within_s)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(id_, None)

    def answered(self, iq: ET.Element) -> bool:
        """An iq of type result or error came in; whether it was an answer to one of these."""
        to, answer = self._waiting.get(iq.get("id", ""), ("", None))
        if answer is None or bare(iq.get("from", "")) != to:
            return False
        if not answer.done():
            answer.set_result(iq)
        return True

    def forget(self) -> None:
        """The stream was lost: no answers will come."""
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(TimeoutError())
        self._waiting.clear()
