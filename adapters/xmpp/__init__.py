"""The xmpp adapter: `outside` speaks the network's transport, `inside` its encryption."""
