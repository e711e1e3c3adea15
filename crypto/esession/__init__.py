"""Encrypted Sessions (XEP-0116, 0155, 0200, 0217) as a pure state machine."""
