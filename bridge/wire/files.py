"""Requests about files, the same on every network that has them: ciphertext in stretches, both ways.

Of what came: `file-fetch` is answered with `size` octets of the ciphertext at `url` from `offset` on, fewer only at its
end; a file of more than `most` octets is refused. `file-forget`: what is kept of it is needed no more.
Of what goes: `file-part` keeps a stretch of what is to be uploaded (`begin-again`: octets before it are missing),
`file-upload` uploads it, `size` octets in all, and is answered with where it stands then; `ending` is what names of
such files end in. `file-drop`: what is kept of it is needed no more.
"""

from collections.abc import Mapping
from types import MappingProxyType

from bridge.wire.values import Address, Code, Number, Opaque, RequestShape, Sealed

FILE_FETCH = "file-fetch"
FILE_FORGET = "file-forget"
FILE_PART = "file-part"
FILE_UPLOAD = "file-upload"
FILE_DROP = "file-drop"

FILE_REQUESTS: Mapping[str, RequestShape] = MappingProxyType(
    {
        FILE_FETCH: RequestShape({"url": Address, "offset": Number, "size": Number, "most": Number}),
        FILE_FORGET: RequestShape({"url": Address}),
        FILE_PART: RequestShape({"transfer": Opaque, "offset": Number, "content": Sealed}),
        FILE_UPLOAD: RequestShape({"transfer": Opaque, "size": Number}, {"ending": Code}),
        FILE_DROP: RequestShape({"transfer": Opaque}),
    }
)
FILE_QUIET = frozenset({FILE_FORGET, FILE_PART, FILE_DROP})
"""That one of these was done needs no answer."""

# ---------------------------------------------------------------- codes: why a file was not transferred
BEGIN_AGAIN = "begin-again"
FILE_TOO_LARGE = "file-too-large"
FILE_GONE = "file-gone"
FILE_UNAVAILABLE = "file-unavailable"
FILE_ADDRESS_REFUSED = "file-address-refused"
UPLOAD_REFUSED = "upload-refused"
UPLOAD_NO_SERVICE = "upload-no-service"
UPLOAD_INSECURE = "upload-insecure"
