"""The responder's choice of how the two ends identify themselves (`init_pubkey`, `resp_pubkey`, `sign_algs`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crypto.esession.forms import Form
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.offering import acceptable_methods
from crypto.esession.policy import Terms


@dataclass(frozen=True, slots=True)
class Keys:
    """The methods, each empty when none can be accepted, and the algorithm of the signatures."""

    initiator: str
    responder: str
    signing: SignAlgorithm | None

    @property
    def needs_signing(self) -> bool:
        """Whether there are methods, and they need an algorithm."""
        return bool(self.initiator and self.responder) and {self.initiator, self.responder} != {"none"}


def choose_keys(request: Form, terms: Terms, *, three_message: bool) -> Keys:
    """The best pair of methods for which there is a signature algorithm; else the best pair without one.

    Of the initiator we ask what we like best; of the ways to name ourselves we take what it likes best, since it
    knows whether it holds a key of ours. Never `none` with 3 messages.
    """
    initiator = _allowed(request.offered("init_pubkey"), acceptable_methods(terms), three_message=three_message)
    offered = request.offered("resp_pubkey")
    keyed = [m for m in offered or () if m in terms.identifying and m != "none"]
    ours = [*keyed, "none"] if terms.identifying[0] != "none" else ["none", *keyed]
    responder = _allowed(offered, [m for m in ours if m in terms.identifying], three_message=three_message)
    algorithms = request.offered("sign_algs") or ()
    for first, second in _pairs(initiator, responder):
        found = _signing(algorithms, terms, first, second)
        if found is not None or (first, second) == ("none", "none"):
            return Keys(first, second, found)
    return Keys(initiator[0] if initiator else "", responder[0] if responder else "", None)


def _allowed(offered: tuple[str, ...] | None, ours: Sequence[str], *, three_message: bool) -> list[str]:
    open_to = offered or ("none",)
    return [method for method in ours if method in open_to and not (three_message and method == "none")]


def _pairs(initiator: Sequence[str], responder: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The pairs, those with the better method of the initiator first: who asks is to be known before who is asked."""
    for first in initiator:
        for second in responder:
            yield first, second


def _signing(offered: Sequence[str], terms: Terms, initiator: str, responder: str) -> SignAlgorithm | None:
    able = {identity.public.algorithm for identity in terms.identities}
    for algorithm in dict.fromkeys((*terms.sign_algs, *able)):
        verified = initiator == "none" or algorithm in terms.sign_algs
        signed = responder == "none" or algorithm in able
        if algorithm in offered and verified and signed and (initiator, responder) != ("none", "none"):
            return algorithm
    return None
