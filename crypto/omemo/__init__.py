"""OMEMO (XEP-0384) in both of its forms: devices, bundles, sessions, messages. All randomness is an argument."""
