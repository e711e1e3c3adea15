"""The vault against a plain dictionary: any sequence of steps, failures and restarts."""

import hashlib
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from vodozemac import GroupSession

from bridge.wire.link import SealedRecord
from crypto.enclave.seal import Sealer
from crypto.enclave.vault import Edited, Vault

NAMES = st.sampled_from(["a", "a/1", "a/2", "b", "root-like", "ü/1"])


@dataclass(frozen=True)
class Item:
    """A record."""

    text: str
    data: bytes


class VaultMachine(RuleBasedStateMachine):
    """Whatever is done in whatever order, the vault says what a dictionary would, also after a restart."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = 0
        self.ledger: dict[str, SealedRecord] = {}
        self.stale: list[SealedRecord] = []
        self.model: dict[str, Item] = {}
        self.pending: dict[str, Item | None] = {}
        self.vault = Vault(self.sealer())

    def sealer(self) -> Sealer:
        return Sealer("alice", b"k" * 32, self.draw)

    def draw(self, name: str, size: int) -> bytes:
        self.draws += 1
        return hashlib.shake_128(f"{name}/{self.draws}".encode()).digest(size)

    @rule(name=NAMES, text=st.text(max_size=20), data=st.binary(max_size=40))
    def put(self, name: str, text: str, data: bytes) -> None:
        self.vault.put(name, Item(text, data))
        self.pending[name] = Item(text, data)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.vault.delete(name)
        self.pending[name] = None

    @rule()
    def commit(self) -> None:
        for delta in self.vault.commit():
            if delta.name in self.ledger:
                self.stale.append(self.ledger[delta.name])
            if delta.sealed is None:
                self.ledger.pop(delta.name)
            else:
                self.ledger[delta.name] = SealedRecord(name=delta.name, version=delta.version, sealed=delta.sealed)
        self._apply()

    @rule()
    def revert(self) -> None:
        self.vault.revert()
        self.pending = {}

    @rule()
    def restart(self) -> None:
        step = self.vault.step
        self.vault = Vault.restored(self.sealer(), self.ledger.values())
        assert self.vault.step == step
        self.pending = {}

    @rule(pick=st.randoms(use_true_random=False))
    def put_back(self, pick: object) -> None:
        """An older record in the place of a newer one, or beside it, is noticed.

        But for one: of an account without records an older root says the same as the newer.
        """
        if len(self.ledger) <= 1:
            return
        for old in self.stale[-3:]:
            edited = {**self.ledger, old.name: old}
            try:
                Vault.restored(self.sealer(), edited.values())
            except Edited:
                continue
            raise AssertionError("an older record was accepted")

    def _apply(self) -> None:
        for name, value in self.pending.items():
            if value is None:
                self.model.pop(name, None)
            else:
                self.model[name] = value
        self.pending = {}

    @invariant()
    def says_what_a_dictionary_would(self) -> None:
        expected = {**self.model, **{n: v for n, v in self.pending.items() if v is not None}}
        for name, value in self.pending.items():
            if value is None:
                expected.pop(name, None)
        for name in ["a", "a/1", "a/2", "b", "root-like", "ü/1"]:
            assert self.vault.get(name, Item) == expected.get(name)
        assert list(self.vault.names("a")) == sorted(n for n in expected if n.startswith("a"))


TestVault = VaultMachine.TestCase
TestVault.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_mutable_object_changed_in_a_step_that_failed_is_read_again() -> None:
    vault = Vault(Sealer("alice", b"k" * 32, lambda name, size: hashlib.shake_128(name.encode()).digest(size)))
    vault.put("megolm", GroupSession())
    vault.commit()
    session = vault.get("megolm", GroupSession)
    assert session is not None
    session.encrypt(b"never sent")
    assert session.message_index == 1
    vault.revert()
    again = vault.get("megolm", GroupSession)
    assert again is not None
    assert again.message_index == 0
