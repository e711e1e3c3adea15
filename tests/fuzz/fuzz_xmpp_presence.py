"""Fuzz target: a snapshot of resources is read and written back the same, or refused with a constant sentence."""

import sys

from adapters.xmpp.names import Resources, address_of, jid_of
from tests.unit.xmpp_site import Site


def target(data: bytes) -> None:
    """Read it, hand it in, write it back."""
    site = Site()
    site.arrive(data, "presence")
    try:
        found = Resources.decode(data)
    except ValueError as error:
        refusal = str(error)
    else:
        _accepted(found)
        return
    assert refusal in {"not a snapshot of resources", "not a resource in a snapshot"}
    assert site.step.codes() == ["presence-malformed"]


def _accepted(found: Resources) -> None:
    assert Resources.decode(found.encode()) == found
    for jid, _ in found.available:
        assert jid_of(address_of(jid)) == jid


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
