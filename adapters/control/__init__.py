"""The gateway itself as a contact: what the user writes to it, in an encrypted session, are orders."""
