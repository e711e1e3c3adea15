"""Names on which the two halves of the Matrix adapter agree: arrivals, requests with their shapes, codes, marks.

Arrivals (gateway to enclave; JSON bodies, hostile):

- `device`: `{"user_id", "device_id"}`: whom the access token belongs to; at every log-in.
- `room`: `{"contact", "room_id", "encryption": content or null, "members": {mxid: membership}}`.
- `keys`: `{"device_one_time_keys_count", "device_unused_fallback_key_types", "device_lists", "full"}`, the first
  three as in `/sync` (absent when the server left them out); `full` when device list changes may have been missed.
- `to-device`: one event of `/sync`'s `to_device`.
- `signal`: `{"contact", "typing"}` or `{"contact", "presence", "status"}`, when it changed.
- `event`: `{"room_id", "event": <timeline event>}`, in the order of the timeline.
"""

from collections.abc import Mapping
from types import MappingProxyType

from bridge.wire.values import Address, Opaque, Public, RequestShape, Sealed

NETWORK = "matrix"

# ---------------------------------------------------------------- arrivals
DEVICE = "device"
ROOM = "room"
KEYS = "keys"
TO_DEVICE = "to-device"
EVENT = "event"
SIGNAL = "signal"

# ---------------------------------------------------------------- requests
KEYS_UPLOAD = "keys-upload"
KEYS_QUERY = "keys-query"
KEYS_CLAIM = "keys-claim"
SEND_TO_DEVICE = "send-to-device"
SEND_WITHHELD = "send-withheld"
SEND_VERIFICATION = "send-verification"
ROOM_OBTAIN = "room-obtain"
ROOM_SEND = "room-send"
SIGNING_KEYS_UPLOAD = "signing-keys-upload"
SIGNATURES_UPLOAD = "signatures-upload"
ACCOUNT_DATA_PUT = "account-data-put"
ACCOUNT_DATA_GET = "account-data-get"

REQUESTS: Mapping[str, RequestShape] = MappingProxyType(
    {
        # POST /keys/upload; answered with the response
        KEYS_UPLOAD: RequestShape({"body": Public}),
        # POST /keys/query for one user; answered with the response
        KEYS_QUERY: RequestShape({"user": Address}),
        # POST /keys/claim; `keys` is the object `one_time_keys` of the request; answered with the response
        KEYS_CLAIM: RequestShape({"keys": Public}),
        # PUT /sendToDevice/m.room.encrypted; `body` is the whole request
        SEND_TO_DEVICE: RequestShape({"body": Sealed}),
        # PUT /sendToDevice/m.room_key.withheld; `body` is the whole request, which says nothing secret
        SEND_WITHHELD: RequestShape({"body": Public}),
        # PUT /sendToDevice/{type} for m.key.verification.*; `body` is the whole request, which says nothing secret
        SEND_VERIFICATION: RequestShape({"type": Opaque, "body": Public}),
        # find or make the encrypted direct room with the contact, not `avoid`; answered with a `room` arrival's body
        ROOM_OBTAIN: RequestShape({"contact": Address}, {"avoid": Address}),
        # PUT /rooms/{room}/send/m.room.encrypted; `content` is the event's content; answered with the response
        ROOM_SEND: RequestShape({"room": Address, "content": Sealed}),
        # POST /keys/device_signing/upload, proving who we are when the server asks for it
        SIGNING_KEYS_UPLOAD: RequestShape({"body": Public}),
        # POST /keys/signatures/upload
        SIGNATURES_UPLOAD: RequestShape({"body": Public}),
        # PUT /user/{user}/account_data/{type}; one of the two contents
        ACCOUNT_DATA_PUT: RequestShape({"type": Opaque}, {"public": Public, "sealed": Sealed}),
        # GET the same; answered with the content, or NOT_FOUND
        ACCOUNT_DATA_GET: RequestShape({"type": Opaque}),
    }
)

# ---------------------------------------------------------------- codes: why a message was not sent
ROOM_NOT_ENCRYPTED = "room-not-encrypted"
ROOM_NOT_PRIVATE = "room-not-private"
CONTACT_LEFT = "contact-left"
NO_DEVICES = "no-devices"
DEVICES_UNKNOWN = "devices-unknown"
NO_SESSIONS = "no-sessions"
QUEUE_FULL = "queue-full"
CONTACT_CHANGED = "contact-changed"
NOT_CROSS_SIGNED = "not-cross-signed"
NOT_VERIFIED = "identity-not-verified"
IDENTITY_CHANGED = "identity-changed"
TOO_LARGE = "too-large"

# ---------------------------------------------------------------- codes: what the user is told about a contact
TOLD_IDENTITY_CHANGED = "contact-identity-changed"
TOLD_IDENTITY_GONE = "contact-identity-gone"
TOLD_NOT_VERIFIED = "contact-not-verified"
TOLD_DEVICE_UNSIGNED = "contact-device-unsigned"
TOLD_NOT_JOINED = "contact-not-joined"
TOLD_VERIFICATION_ASKED = "verification-asked"
TOLD_VERIFICATION_OVER = "verification-cancelled"
TOLD_VERIFIED = "verification-done"

# ---------------------------------------------------------------- codes: failures of requests
FORBIDDEN = "far-forbidden"
NOT_FOUND = "not-found"
REJECTED = "rejected"
MALFORMED = "malformed-response"
UNAVAILABLE = "unavailable"
RATE_LIMITED = "rate-limited"
LOGGED_OUT = "logged-out"
AUTH_REQUIRED = "auth-required"
