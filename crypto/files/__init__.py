"""Encrypted files: ciphers that run through a file once, and the forms in which messages name their keys."""
