"""Bundles as XML (XEP-0384, section 5.3.2; 0.3: section 4.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from crypto.omemo import curve
from crypto.omemo.faults import BadBundle, Malformed
from crypto.omemo.frames import decoded_key, encoded_key
from crypto.omemo.model import Bundle, PreKey
from crypto.omemo.names import MAX_PREKEYS, Namespace
from crypto.omemo.reading import b64, number, only, several, unb64
from crypto.xml import Element


@dataclass(frozen=True, slots=True)
class _Words:
    """What the parts of a bundle are called."""

    signed: str
    signed_id: str
    signature: str
    identity: str
    prekey: str
    prekey_id: str


_WORDS: Mapping[Namespace, _Words] = MappingProxyType(
    {
        Namespace.OMEMO_2: _Words("spk", "id", "spks", "ik", "pk", "id"),
        Namespace.AXOLOTL: _Words(
            "signedPreKeyPublic", "signedPreKeyId", "signedPreKeySignature", "identityKey", "preKeyPublic", "preKeyId"
        ),
    }
)


def require_signed(bundle: Bundle) -> None:
    """Raises BadBundle when the signed prekey is not signed by the identity key, or that is no key."""
    if bundle.namespace is Namespace.OMEMO_2:
        matching = curve.agreement_key(bundle.signing_key) == bundle.identity_key
    else:
        matching = curve.signing_key(bundle.identity_key, curve.sign_of(bundle.signing_key)) == bundle.signing_key
    if not matching:
        raise BadBundle
    curve.require_signature(bundle.signing_key, encoded_key(bundle.namespace, bundle.signed_key), bundle.signature)


def bundle_element(bundle: Bundle) -> Element:
    """`<bundle/>`."""
    namespace, words = bundle.namespace, _WORDS[bundle.namespace]
    signature, identity = bundle.signature, bundle.signing_key
    if namespace is Namespace.AXOLOTL:
        signature, identity = curve.with_sign(signature, curve.sign_of(identity)), bundle.identity_key
    prekeys = tuple(
        _text(namespace, words.prekey, encoded_key(namespace, key.public), (words.prekey_id, key.id))
        for key in bundle.prekeys
    )
    return Element(
        namespace,
        "bundle",
        (),
        (
            _text(
                namespace, words.signed, encoded_key(namespace, bundle.signed_key), (words.signed_id, bundle.signed_id)
            ),
            _text(namespace, words.signature, signature),
            _text(namespace, words.identity, encoded_key(namespace, identity)),
            Element(namespace, "prekeys", (), prekeys),
        ),
    )


def _text(namespace: Namespace, name: str, octets: bytes, id_: tuple[str, int] | None = None) -> Element:
    attributes = () if id_ is None else ((id_[0], str(id_[1])),)
    return Element(namespace, name, attributes, (b64(octets),))


def read_bundle(element: Element) -> Bundle:
    """A bundle whose signed prekey is signed. Raises Malformed, BadBundle. Its identity key may be anybody's."""
    namespace = _namespace(element)
    words = _WORDS[namespace]
    signed = only(element, words.signed)
    signature = unb64(only(element, words.signature).text)
    identity = decoded_key(namespace, unb64(only(element, words.identity).text))
    if len(signature) != curve.SIGNATURE:
        raise Malformed
    if namespace is Namespace.AXOLOTL:
        signing, agreeing = curve.signing_key(identity, curve.sign_of(signature)), identity
        signature = curve.with_sign(signature, False)
    else:
        signing, agreeing = identity, _agreeing(identity)
    bundle = Bundle(
        namespace,
        agreeing,
        signing,
        number(signed.attribute(words.signed_id)),
        decoded_key(namespace, unb64(signed.text)),
        signature,
        _prekeys(namespace, only(element, "prekeys"), words),
    )
    require_signed(bundle)
    return bundle


def _namespace(element: Element) -> Namespace:
    for namespace in Namespace:
        if element.namespace == namespace and element.name == "bundle":
            return namespace
    raise Malformed


def _agreeing(signing: bytes) -> bytes:
    found = curve.agreement_key(signing)
    if found is None:
        raise BadBundle
    return found


def _prekeys(namespace: Namespace, parent: Element, words: _Words) -> tuple[PreKey, ...]:
    """At most so many as are ever needed, each id once. Raises Malformed."""
    found: dict[int, PreKey] = {}
    for child in several(parent, words.prekey)[:MAX_PREKEYS]:
        id_ = number(child.attribute(words.prekey_id))
        found.setdefault(id_, PreKey(id_, decoded_key(namespace, unb64(child.text))))
    return tuple(found.values())
