"""Names of the half of the gateway itself. It has no outside half, and nothing of it leaves by requests of its own."""

from bridge.wire.values import CONTROL

NETWORK = CONTROL

CONTACTS, FINGERPRINTS, VERIFY = "contacts", "fingerprints", "verify"
DEVICES, TRUST = "devices", "trust"
COMMANDS = {
    CONTACTS: "Contacts and how they are verified",
    FINGERPRINTS: "Keys of identities",
    VERIFY: "Verify a contact",
    DEVICES: "Your OMEMO devices",
    TRUST: "Trust or distrust one of your OMEMO devices",
}
"""Commands that a client shows (XEP-0050), with their names."""

# ---------------------------------------------------------------- codes: what is said in plain
TOLD_HELP = "gateway-help"
TOLD_ENCRYPT = "gateway-encrypt"
