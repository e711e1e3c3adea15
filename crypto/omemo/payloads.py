"""The content of a message under a key of its own (XEP-0384, section 4.4; 0.3: section 4.4).

omemo:2: AES-256-CBC and HMAC-SHA256 of 16 octets. The older form: AES-128-GCM. The key and the tag go to each device.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7

from crypto.omemo.faults import Undecryptable
from crypto.omemo.names import Namespace
from crypto.omemo.store import Draw
from crypto.primitives.ciphers import hmac_sha256, same

TAG = 16
KEY_2 = 32
KEY_AXOLOTL = 16
_IV = 12
_IVS = (12, 16)
"""Old clients draw 16 octets."""
_BLOCK = 128


def derived(key: bytes, info: bytes) -> tuple[bytes, bytes, bytes]:
    """Encryption key, authentication key, first block, from 32 octets."""
    octets = HKDF(SHA256(), 80, bytes(32), info).derive(key)
    return octets[:32], octets[32:64], octets[64:]


def cbc_sealed(key: bytes, first: bytes, plaintext: bytes) -> bytes:
    """AES-256-CBC with PKCS#7 padding. Authenticates nothing."""
    padder = PKCS7(_BLOCK).padder()
    encryptor = Cipher(AES256(key), CBC(first)).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def cbc_opened(key: bytes, first: bytes, ciphertext: bytes) -> bytes:
    """The plaintext of what was authenticated before. Raises Undecryptable."""
    plaintext: bytes | None = None
    try:
        decryptor, unpadder = Cipher(AES256(key), CBC(first)).decryptor(), PKCS7(_BLOCK).unpadder()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        plaintext = unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        plaintext = None
    if plaintext is None:
        raise Undecryptable
    return plaintext


def sealed(namespace: Namespace, plaintext: bytes, draw: Draw) -> tuple[bytes | None, bytes, bytes]:
    """The content's `iv` (None in omemo:2), its ciphertext, and the key with the tag, which each device is to get."""
    if namespace is Namespace.AXOLOTL:
        key, iv = draw("omemo-key", KEY_AXOLOTL), draw("omemo-iv", _IV)
        octets = AESGCM(key).encrypt(iv, plaintext, None)
        return iv, octets[:-TAG], key + octets[-TAG:]
    key = draw("omemo-key", KEY_2)
    cipher_key, mac_key, first = derived(key, b"OMEMO Payload")
    ciphertext = cbc_sealed(cipher_key, first, plaintext)
    return None, ciphertext, key + hmac_sha256(mac_key, ciphertext)[:TAG]


def empty(namespace: Namespace, draw: Draw) -> tuple[bytes | None, bytes]:
    """The `iv` and what each device gets of a message without content."""
    if namespace is Namespace.AXOLOTL:
        return draw("omemo-iv", _IV), draw("omemo-key", KEY_AXOLOTL)
    return None, bytes(KEY_2)


def is_for_payload(namespace: Namespace, key: bytes) -> bool:
    """Whether the key came with a payload that was cut off. In the older form keys alone may have tags too."""
    return namespace is Namespace.OMEMO_2 and len(key) == KEY_2 + TAG


def opened(namespace: Namespace, iv: bytes | None, ciphertext: bytes, key: bytes) -> bytes:
    """The content. `key`: what came for this device, the key and the tag. Raises Undecryptable."""
    if namespace is Namespace.AXOLOTL:
        return _opened_axolotl(iv, ciphertext, key)
    if len(key) != KEY_2 + TAG:
        raise Undecryptable
    cipher_key, mac_key, first = derived(key[:KEY_2], b"OMEMO Payload")
    if not same(hmac_sha256(mac_key, ciphertext)[:TAG], key[KEY_2:]):
        raise Undecryptable
    return cbc_opened(cipher_key, first, ciphertext)


def _opened_axolotl(iv: bytes | None, ciphertext: bytes, key: bytes) -> bytes:
    plaintext: bytes | None = None
    if iv is not None and len(iv) in _IVS and len(key) == KEY_AXOLOTL + TAG:
        try:
            plaintext = AESGCM(key[:KEY_AXOLOTL]).decrypt(iv, ciphertext + key[KEY_AXOLOTL:], None)
        except InvalidTag:
            plaintext = None
    if plaintext is None:
        raise Undecryptable
    return plaintext
