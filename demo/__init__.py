"""The main job, shown: an encrypted conversation between an XMPP user and a Matrix user, on real servers."""
