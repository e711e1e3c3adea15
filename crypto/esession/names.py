"""Namespaces, field names and fixed values of ESessions."""

NEGOTIATION = "http://jabber.org/protocol/feature-neg"
INIT = "http://www.xmpp.org/extensions/xep-0116.html#ns-init"
ESESSION = "http://www.xmpp.org/extensions/xep-0116.html#ns"
STANZA = "http://www.xmpp.org/extensions/xep-0200.html#ns"
DATA = "jabber:x:data"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
FORM_TYPE = "urn:xmpp:ssn"

VERSION = "1.0"
REKEY_FREQUENCY = 4294967295
"""Stanzas between re-keyings: the largest value, that is none."""

FIXED: tuple[tuple[str, str, str], ...] = (
    ("crypt_algs", "hidden", "aes128-ctr"),
    ("hash_algs", "hidden", "sha256"),
    ("compress", "hidden", "none"),
    ("stanzas", "list-multi", "message"),
    ("init_pubkey", "hidden", "none"),
    ("resp_pubkey", "hidden", "none"),
    ("ver", "hidden", VERSION),
    ("sas_algs", "hidden", "sas28x5"),
)
"""Fields that have one acceptable value (XEP-0217, "Fixed Parameters"): name, type in a request, value."""

KNOWN = frozenset({name for name, _, _ in FIXED}) | {
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
}
