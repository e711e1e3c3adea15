"""What both halves of the XMPP adapter call the things of personal eventing (XEP-0163) and of offline ESessions."""
