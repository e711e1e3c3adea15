"""What the operator is told about the connection to the XMPP server, by how it stands."""

HEALTH = {
    "up": "Connected to the XMPP server as a component.",
    "connecting": "Connecting to the XMPP server's component port.",
    "unreachable": "The XMPP server's component port cannot be reached. Check that the server runs and that "
    "xmpp.component.host and xmpp.component.port name it; the gateway keeps trying.",
    "not-authorized": "The XMPP server refused the component's secret. Put the secret of this component from the "
    "server's configuration into the file that xmpp.component.secret_file names. ejabberd answers so, too, when its "
    "listener of module ejabberd_service has no host of the name in xmpp.component.jid.",
    "host-unknown": "The XMPP server has no component of the name in xmpp.component.jid. Add it to the server's "
    "configuration, or correct the name.",
    "conflict": "Another program is connected to the XMPP server under this component's name, or the name is a domain "
    "of the server's own. Stop the other one, or take another name; the gateway keeps trying.",
    "invalid-namespace": "The port is not for components; perhaps it is for clients. Put the server's component port "
    "into xmpp.component.port; 5347 is usual.",
    "lost": "The connection to the XMPP server was lost; the gateway is connecting again.",
    "silent": "The XMPP server accepted the connection but not the component within ten seconds. "
    "Check that the port is a component port; the gateway keeps trying.",
    "broken": "The XMPP server sent something that is not XMPP. Check that the port is a component port.",
    "not-stored": "What came from the XMPP server could not be stored. Check the storage's disk space and permissions; "
    "the gateway keeps trying and takes nothing more until then.",
    "closed": "Disconnected from the XMPP server.",
}
"""Sentences for the operator, by how the connection stands."""
