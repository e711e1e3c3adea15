"""Our own XMPP endpoint: a slixmpp plugin for Encrypted Sessions, and the terminal client built on it."""
