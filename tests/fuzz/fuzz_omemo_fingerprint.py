"""Fuzz target: fingerprints and addresses with them, as people paste and clients scan them."""

import sys

from crypto.omemo.fingerprints import fingerprint, read_fingerprint, read_uri, uri


def target(data: bytes) -> None:
    """Keys of 32 octets, or none."""
    text = data.decode("utf-8", "replace")
    key = read_fingerprint(text)
    assert key is None or read_fingerprint(fingerprint(key)) == key
    devices = read_uri(text)
    assert all(len(each) == 32 for each in devices.values())
    assert read_uri(uri("alice@example.org", devices)) == devices


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
