"""The Double Ratchet with OMEMO's parameters, on the library `doubleratchet`, as a function of its state.

The library's functions are coroutines that never wait; they are driven to their end at once. New ratchet keys are
drawn through an argument. It warns, through the interpreter's warnings, of a peer that skips too much: in a process
without files the text of a warning must not be made, so warnings are off while it runs.
"""

import warnings
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import doubleratchet
from doubleratchet import models
from doubleratchet.recommended import HashFunction, diffie_hellman_ratchet_curve25519, kdf_hkdf, kdf_separate_hmacs

from crypto.errors import Misuse
from crypto.omemo.faults import OmemoError, Replayed, TooManySkipped, Undecryptable
from crypto.omemo.frames import TAG, Frame, frame_body, frame_octets, read_frame
from crypto.omemo.names import MAX_SKIPPED, Namespace
from crypto.omemo.payloads import cbc_opened, cbc_sealed, derived
from crypto.omemo.store import Draw
from crypto.primitives.ciphers import hmac_sha256, same

T = TypeVar("T")
_CHAIN = b"\x02\x01"
"""What the chain key is made to give: the next chain key, then the message key."""


# ---------------------------------------------------------------- the state, as it is remembered
@dataclass(frozen=True, slots=True)
class Chain:
    """A symmetric ratchet: how many keys came of it, and its key."""

    length: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """The key of a message that did not come yet."""

    ratchet_key: bytes
    counter: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ratchet:
    """The state of a double ratchet. `own_key` is private, `their_key` public; the oldest of `skipped` comes first."""

    own_key: bytes = field(repr=False)
    their_key: bytes
    root: Chain
    sending: Chain | None
    receiving: Chain | None
    previous: int | None
    skipped: tuple[Skipped, ...] = ()


# ---------------------------------------------------------------- OMEMO's parameters
class _Root2(kdf_hkdf.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"OMEMO Root Chain"


class _RootAxolotl(_Root2):
    @staticmethod
    def _get_info() -> bytes:
        return b"WhisperRatchet"


class _Messages(kdf_separate_hmacs.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class _Aead2(doubleratchet.AEAD):
    """Encryption of one message: AES-256-CBC, then HMAC-SHA256 over associated data and message, cut short."""

    namespace = Namespace.OMEMO_2
    info = b"OMEMO Message Key Material"

    @classmethod
    async def encrypt(cls, plaintext: bytes, key: bytes, associated_data: bytes) -> bytes:
        """See the library."""
        identities, header = associated_data[:-_HEADER], associated_data[-_HEADER:]
        cipher_key, mac_key, first = derived(key, cls.info)
        ciphertext = cbc_sealed(cipher_key, first, plaintext)
        numbers = int.from_bytes(header[32:36], "big"), int.from_bytes(header[36:], "big")
        body = frame_body(cls.namespace, header[:32], *numbers, ciphertext)
        return frame_octets(cls.namespace, body, hmac_sha256(mac_key, identities, body)[: TAG[cls.namespace]])

    @classmethod
    async def decrypt(cls, ciphertext: bytes, key: bytes, associated_data: bytes) -> bytes:
        """See the library. Raises Undecryptable."""
        frame = read_frame(cls.namespace, ciphertext)
        cipher_key, mac_key, first = derived(key, cls.info)
        tag = hmac_sha256(mac_key, associated_data[:-_HEADER], frame.body)[: TAG[cls.namespace]]
        if not same(tag, frame.tag):
            raise Undecryptable
        return cbc_opened(cipher_key, first, frame.ciphertext)


class _AeadAxolotl(_Aead2):
    namespace = Namespace.AXOLOTL
    info = b"WhisperMessageKeys"


_HEADER = 40


class _Double(doubleratchet.DoubleRatchet):
    """The associated data of a message are the identities, and the header in a form of ours that `_Aead2` takes off."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        counters = header.sending_chain_length.to_bytes(4, "big") + header.previous_sending_chain_length.to_bytes(
            4, "big"
        )
        return associated_data + header.ratchet_pub + counters


def _drawn(draw: Draw) -> type[diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet]:
    class Drawn(diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet):
        """Its new keys come from the draw.

        The library copies it before it tries a message. Here it is made anew for every message and thrown away when
        that is refused, so the copy, a fifth of the cost, is left out.
        """

        def __deepcopy__(self, _memo: object) -> "Drawn":
            return self

        @staticmethod
        def _generate_priv() -> bytes:
            return draw("omemo-ratchet", 32)

    return Drawn


_Parameters = tuple[
    type[doubleratchet.DiffieHellmanRatchet],
    type[doubleratchet.KDF],
    type[doubleratchet.KDF],
    bytes,
    int,
    int,
    type[doubleratchet.AEAD],
]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a function of the ratchet needs beside its state.

    `identities`: the associated data, both identity keys as the form writes them.
    """

    namespace: Namespace
    draw: Draw
    identities: bytes

    def parameters(self) -> _Parameters:
        """As the library takes them."""
        second = self.namespace is Namespace.OMEMO_2
        root, aead = (_Root2, _Aead2) if second else (_RootAxolotl, _AeadAxolotl)
        return _drawn(self.draw), root, _Messages, _CHAIN, MAX_SKIPPED, MAX_SKIPPED, aead


# ---------------------------------------------------------------- functions of the state
def begun(turn: Turn, secret: bytes, their_key: bytes, plaintext: bytes) -> tuple[Ratchet, bytes]:
    """The initiator's ratchet, and its first message. Raises Undecryptable when `their_key` is no key."""
    double, encrypted = _driven(
        _Double.encrypt_initial_message(*turn.parameters(), secret, their_key, plaintext, turn.identities)
    )
    return _remembered(double), encrypted.ciphertext


def answered(turn: Turn, secret: bytes, own_key: bytes, octets: bytes) -> tuple[Ratchet, bytes]:
    """The responder's ratchet, and what the message says. Raises OmemoError."""
    message = _message(read_frame(turn.namespace, octets), octets)
    double, plaintext = _driven(
        _Double.decrypt_initial_message(*turn.parameters(), secret, own_key, message, turn.identities)
    )
    return _remembered(double), plaintext


def sealed(turn: Turn, ratchet: Ratchet, plaintext: bytes) -> tuple[Ratchet, bytes]:
    """The next message."""
    double = _restored(turn, ratchet)
    encrypted = _driven(double.encrypt_message(plaintext, turn.identities))
    return _remembered(double), encrypted.ciphertext


def opened(turn: Turn, ratchet: Ratchet, octets: bytes) -> tuple[Ratchet, bytes]:
    """What a message says. Raises OmemoError."""
    message = _message(read_frame(turn.namespace, octets), octets)
    double = _restored(turn, ratchet)
    plaintext = _driven(double.decrypt_message(message, turn.identities))
    return _remembered(double), plaintext


def _message(frame: Frame, octets: bytes) -> doubleratchet.EncryptedMessage:
    header = doubleratchet.Header(frame.ratchet_key, frame.previous, frame.counter)
    return doubleratchet.EncryptedMessage(header, octets)


def _driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits. Raises OmemoError, and Misuse when it does wait."""
    fault: type[OmemoError | Misuse] = Undecryptable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            coroutine.send(None)
            coroutine.close()
            fault = Misuse
        except StopIteration as done:
            result: T = done.value
            return result
        except OmemoError as error:
            fault = type(error)
        except doubleratchet.DuplicateMessageException:
            fault = Replayed
        except doubleratchet.DoSProtectionException:
            fault = TooManySkipped
        except ValueError:  # a public key of small order
            fault = Undecryptable
    if fault is Misuse:
        raise Misuse("the ratchet waits for something")
    raise fault()


# ---------------------------------------------------------------- to and from the library's own form
def _restored(turn: Turn, ratchet: Ratchet) -> _Double:
    chains = models.SymmetricKeyRatchetModel.model_construct(
        receiving_chain=_chain_model(ratchet.receiving),
        sending_chain=_chain_model(ratchet.sending),
        previous_sending_chain_length=ratchet.previous,
    )
    inner = models.DiffieHellmanRatchetModel.model_construct(
        own_ratchet_priv=ratchet.own_key,
        other_ratchet_pub=ratchet.their_key,
        root_chain=_chain_model(ratchet.root),
        symmetric_key_ratchet=chains,
    )
    skipped = [
        models.SkippedMessageKeyModel.model_construct(
            ratchet_pub=each.ratchet_key, index=each.counter, message_key=each.key
        )
        for each in ratchet.skipped
    ]
    model = models.DoubleRatchetModel.model_construct(diffie_hellman_ratchet=inner, skipped_message_keys=skipped)
    return _Double.from_model(model, *turn.parameters())


def _chain_model(chain: Chain | None) -> models.KDFChainModel | None:
    return None if chain is None else models.KDFChainModel.model_construct(length=chain.length, key=chain.key)


def _remembered(double: _Double) -> Ratchet:
    model = double.model
    inner = model.diffie_hellman_ratchet
    chains = inner.symmetric_key_ratchet
    root = _chain(inner.root_chain)
    assert root is not None
    skipped = tuple(Skipped(s.ratchet_pub, s.index, s.message_key) for s in model.skipped_message_keys)
    return Ratchet(
        inner.own_ratchet_priv,
        inner.other_ratchet_pub,
        root,
        _chain(chains.sending_chain),
        _chain(chains.receiving_chain),
        chains.previous_sending_chain_length,
        skipped,
    )


def _chain(model: models.KDFChainModel | None) -> Chain | None:
    return None if model is None else Chain(model.length, model.key)
