"""Namespaces, field names and fixed values of ESessions."""

NEGOTIATION = "http://jabber.org/protocol/feature-neg"
INIT = "http://www.xmpp.org/extensions/xep-0116.html#ns-init"
ESESSION = "http://www.xmpp.org/extensions/xep-0116.html#ns"
STANZA = "http://www.xmpp.org/extensions/xep-0200.html#ns"
DATA = "jabber:x:data"
RECEIPTS = "urn:xmpp:receipts"
STANZA_ID = "urn:xmpp:sid:0"
CARBONS = "urn:xmpp:carbons:2"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
FORM_TYPE = "urn:xmpp:ssn"

VERSION = "1.0"
VERSIONS = (VERSION,)
"""Versions of the protocol that we speak, the best first."""
REKEY_FREQUENCY = 4294967295
"""Stanzas between re-keyings: the largest value, that is none."""

PLAIN_CIPHER = "aes128-ctr"
PLAIN_HASH = "sha256"
SAS = "sas28x5"
BOUND_SAS = "{urn:lockgate:esession:0}sas28x5-bound"
"""The same string over values that are all fixed before the responder answers (docs/decisions/0089)."""

EXTENSION = "urn:lockgate:esession:0"
"""Prefix of the fields that the XEPs do not know; peers that do not know them ignore them, and authenticate them."""
GROUP = "{urn:lockgate:esession:0}group"
"""Groups that are not MODP groups: options in a request, the chosen one in an answer in place of `modp`."""
GROUP_HASHES = "{urn:lockgate:esession:0}dhhashes"
GROUP_KEYS = "{urn:lockgate:esession:0}dhkeys"
"""What `dhhashes` and `dhkeys` are to `modp`."""
KEM = "{urn:lockgate:esession:0}kem"
"""Key encapsulation mechanisms: options in a request, the chosen one in an answer."""
KEM_KEYS = "{urn:lockgate:esession:0}kemkeys"
"""In a request the public keys, in the order of the options; in an answer the ciphertext."""
REQUEST = "{urn:lockgate:esession:0}request"
"""In the answer of a 3-message negotiation: HASH of formA as it was received (docs/decisions/0087)."""

OPTIONS = ("crypt_algs", "hash_algs", "compress", "stanzas", "init_pubkey", "resp_pubkey", "ver", "sas_algs")
"""Fields of options in the order in which we write them, and name them in a refusal."""

KNOWN = frozenset(OPTIONS) | {
    "FORM_TYPE",
    "accept",
    "logging",
    "otr",
    "disclosure",
    "security",
    "rekey_freq",
    "sign_algs",
    "my_nonce",
    "modp",
    "dhhashes",
    "dhkeys",
    "nonce",
    "counter",
    "rshashes",
    "srshash",
    "identity",
    "mac",
    "terminate",
    "reason",
    GROUP,
    GROUP_HASHES,
    GROUP_KEYS,
    KEM,
    KEM_KEYS,
    REQUEST,
}
