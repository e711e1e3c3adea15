"""The companion: a local proxy that gives an ordinary XMPP client encrypted sessions. See docs/companion.md."""
