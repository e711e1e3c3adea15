"""Names on which the two halves of the Matrix adapter agree: arrivals, requests with their shapes, codes, marks.

Arrivals (gateway to enclave; JSON bodies, hostile):

- `device`: `{"user_id", "device_id"}`: whom the access token belongs to; at every log-in.
- `room`: `{"contact", "room_id", "encryption": content or null, "members": {mxid: membership}}`, and
  `"history_visibility"`, `"replaced"`: whether the room has a tombstone.
- `left-out`: `{"contact", "room_id"}`: messages of a gap were not fetched; those that were follow.
- `keys`: `{"device_one_time_keys_count", "device_unused_fallback_key_types", "device_lists", "full"}`, the first
  three as in `/sync` (absent when the server left them out); `full` when device list changes may have been missed.
- `to-device`: one event of `/sync`'s `to_device`.
- `signal`: `{"contact", "typing"}`, `{"contact", "presence", "status"}` or `{"contact", "read": [event ids]}`, when it
  changed.
- `profile`: `{"contact", "name", "picture": base64, "media_type"}`, the public one: after a start and when it changed.
- `event`: `{"room_id", "event": <timeline event>}`, in the order of the timeline.
"""

from collections.abc import Mapping
from types import MappingProxyType

from bridge.wire.files import FILE_REQUESTS
from bridge.wire.values import Address, Code, Number, Opaque, Public, RequestShape, Sealed

NETWORK = "matrix"

# ---------------------------------------------------------------- arrivals
DEVICE = "device"
ROOM = "room"
KEYS = "keys"
TO_DEVICE = "to-device"
EVENT = "event"
SIGNAL = "signal"
PROFILE = "profile"
LEFT_OUT = "left-out"

# ---------------------------------------------------------------- requests
KEYS_UPLOAD = "keys-upload"
KEYS_QUERY = "keys-query"
KEYS_CLAIM = "keys-claim"
SEND_TO_DEVICE = "send-to-device"
SEND_WITHHELD = "send-withheld"
SEND_VERIFICATION = "send-verification"
ROOM_OBTAIN = "room-obtain"
ROOM_SEND = "room-send"
ROOM_REACT = "room-react"
ROOM_REDACT = "room-redact"
ROOM_RECEIPT = "room-receipt"
ROOM_TYPING = "room-typing"
PRESENCE_PUT = "presence-put"
SIGNING_KEYS_UPLOAD = "signing-keys-upload"
SIGNATURES_UPLOAD = "signatures-upload"
ACCOUNT_DATA_PUT = "account-data-put"
ACCOUNT_DATA_GET = "account-data-get"
BACKUP_VERSION_GET = "backup-version-get"
BACKUP_VERSION_MAKE = "backup-version-make"
BACKUP_PUT = "backup-put"
BACKUP_GET = "backup-get"
SEND_KEY_REQUEST = "send-key-request"

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
        # PUT /rooms/{room}/send/m.reaction: in clear; `emoji` is what the reaction is, up to 64 octets of UTF-8
        ROOM_REACT: RequestShape({"room": Address, "event": Address, "emoji": Public}),
        # PUT /rooms/{room}/redact/{event}, without a reason
        ROOM_REDACT: RequestShape({"room": Address, "event": Address}),
        # POST /rooms/{room}/receipt/{type}/{event}; `kind` is `read` or `read-private`
        ROOM_RECEIPT: RequestShape({"room": Address, "event": Address, "kind": Code}),
        # PUT /rooms/{room}/typing/{user}; 0: no longer. Not tried again
        ROOM_TYPING: RequestShape({"room": Address, "timeout-ms": Number}),
        # PUT /presence/{user}/status; `online`, `unavailable`, `offline`; without a sentence. Not tried again
        PRESENCE_PUT: RequestShape({"presence": Code}),
        # POST /keys/device_signing/upload, proving who we are when the server asks for it
        SIGNING_KEYS_UPLOAD: RequestShape({"body": Public}),
        # POST /keys/signatures/upload
        SIGNATURES_UPLOAD: RequestShape({"body": Public}),
        # PUT /user/{user}/account_data/{type}; one of the two contents
        ACCOUNT_DATA_PUT: RequestShape({"type": Opaque}, {"public": Public, "sealed": Sealed}),
        # GET the same; answered with the content, or NOT_FOUND
        ACCOUNT_DATA_GET: RequestShape({"type": Opaque}),
        # GET /room_keys/version; answered with the response, or NOT_FOUND
        BACKUP_VERSION_GET: RequestShape({}),
        # POST /room_keys/version; `body` is the whole request; answered with the response
        BACKUP_VERSION_MAKE: RequestShape({"body": Public}),
        # PUT /room_keys/keys; `body` is the whole request; FORBIDDEN or NOT_FOUND: that version is not the present one
        BACKUP_PUT: RequestShape({"version": Opaque, "body": Sealed}),
        # GET /room_keys/keys/{room}/{session}; answered with the response, or NOT_FOUND
        BACKUP_GET: RequestShape({"version": Opaque, "room": Address, "session": Opaque}),
        # PUT /sendToDevice/m.room_key_request; `body` is the whole request: ids of room and session, nothing secret
        SEND_KEY_REQUEST: RequestShape({"body": Public}),
        # files: `url` is an mxc: URI; an upload is answered with `{"content_uri"}`
        **FILE_REQUESTS,
    }
)

# ---------------------------------------------------------------- codes: why a message was not sent
ROOM_NOT_ENCRYPTED = "room-not-encrypted"
ROOM_NOT_PRIVATE = "room-not-private"
CONTACT_LEFT = "contact-left"
ROOM_LEFT = "room-left"
ROOM_REPLACED = "room-replaced"
ROOM_CLOSED = "room-closed"
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
TOLD_KEY_NOT_PROVED = "contact-key-not-proved"
TOLD_NOT_JOINED = "contact-not-joined"
TOLD_LEFT_OUT = "history-left-out"
TOLD_REACTIONS_IGNORED = "reactions-ignored"
TOLD_RETRACTIONS_IGNORED = "retractions-ignored"
TOLD_OWN_REMOVED = "own-message-removed"
TOLD_UNSUPPORTED = "kind-unsupported"
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
