"""Files as clients with OMEMO send them: an `aesgcm:` address (XEP-0454) as the text."""

import aiohttp
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_OCTETS = 32


async def fetched(address: str) -> bytes:
    """What an address names, decrypted. Raises `InvalidTag` when it is not authentic."""
    scheme, _, rest = address.partition("://")
    if scheme != "aesgcm":
        raise ValueError("this is no such address")
    place, _, fragment = rest.partition("#")
    secret = bytes.fromhex(fragment)
    iv, key = secret[:-_KEY_OCTETS], secret[-_KEY_OCTETS:]
    async with aiohttp.ClientSession() as session, session.get(f"https://{place}") as answer:
        answer.raise_for_status()
        return AESGCM(key).decrypt(iv, await answer.read(), None)
