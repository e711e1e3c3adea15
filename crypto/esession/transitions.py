"""What a peer may do in which stage of a conversation: code, documentation and diagram at once."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from crypto.esession.exchanging import (
    on_encrypted,
    on_encrypted_unknown,
    on_encrypted_while_closing,
    on_error,
    on_plain_end,
)
from crypto.esession.negotiating import (
    on_completion,
    on_decline,
    on_init,
    on_refused,
    on_renegotiation,
    on_request,
    on_response,
    on_stray,
)
from crypto.esession.outcome import Arrival, Conversation, Outcome, Stage
from crypto.esession.payloads import Payload

Handler = Callable[[Conversation, Arrival], Outcome]

TABLE: Mapping[Stage, Mapping[Payload, Handler]] = MappingProxyType(
    {
        Stage.NONE: {
            Payload.REQUEST: on_request,
            Payload.RESPONSE: on_stray,
            Payload.COMPLETION: on_stray,
            Payload.ENCRYPTED: on_encrypted_unknown,
        },
        Stage.OFFERED: {
            Payload.RESPONSE: on_response,
            Payload.DECLINE: on_decline,
            Payload.TERMINATE: on_decline,
            Payload.ERROR: on_refused,
        },
        Stage.ANSWERED: {
            Payload.REQUEST: on_request,
            Payload.COMPLETION: on_completion,
            Payload.ENCRYPTED: on_encrypted,
            Payload.DECLINE: on_decline,
            Payload.TERMINATE: on_decline,
            Payload.ERROR: on_error,
        },
        Stage.PROVED: {
            Payload.INIT: on_init,
            Payload.COMPLETION: on_init,
            Payload.DECLINE: on_decline,
            Payload.TERMINATE: on_decline,
            Payload.ERROR: on_error,
        },
        Stage.ACTIVE: {
            Payload.ENCRYPTED: on_encrypted,
            Payload.REQUEST: on_request,
            Payload.RENEGOTIATE: on_renegotiation,
            Payload.TERMINATE: on_plain_end,
            Payload.ACKNOWLEDGE: on_plain_end,
            Payload.DECLINE: on_plain_end,
            Payload.ERROR: on_error,
        },
        Stage.CLOSING: {
            Payload.ENCRYPTED: on_encrypted_while_closing,
            Payload.REQUEST: on_request,
            Payload.TERMINATE: on_plain_end,
            Payload.ACKNOWLEDGE: on_plain_end,
            Payload.DECLINE: on_plain_end,
            Payload.ERROR: on_error,
        },
    }
)
"""What a peer may do in each stage. Anything else is ignored and changes nothing."""
