"""Fuzz target: device lists of OMEMO, both forms. What is read is written and read again as the same."""

import sys
from contextlib import suppress

from crypto.omemo.elements import device_list_element, label_is_signed, read_device_list
from crypto.omemo.faults import OmemoError
from crypto.omemo.names import MAX_DEVICES
from crypto.xml import MalformedXml, parse, serialize


def target(data: bytes) -> None:
    """Some devices, or one refusal."""
    with suppress(MalformedXml, OmemoError):
        devices = read_device_list(parse(data))
        assert len(set(devices.ids)) == len(devices.ids) <= MAX_DEVICES
        assert read_device_list(parse(serialize(device_list_element(devices)))) == devices
        assert not any(label_is_signed(device, bytes(32)) for device in devices.devices)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
