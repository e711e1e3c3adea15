"""What can be wrong with a ledger. Constant sentences; data in fields that are safe to log."""


class LedgerError(Exception):
    """Base of all troubles of the ledger."""

    code = "ledger"
    sentence = "The ledger failed."

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{self.sentence} ({detail})" if detail else self.sentence)
        self.detail = detail


class LedgerLocked(LedgerError):
    """Another process holds this ledger."""

    code = "ledger-locked"
    sentence = "Another gateway is using this ledger: only one may."


class LedgerForeign(LedgerError):
    """The file is a database, but not one of ours."""

    code = "ledger-foreign"
    sentence = "This file is not a Lockgate ledger."


class LedgerNewer(LedgerError):
    """The file was written by a later version than this one."""

    code = "ledger-newer"
    sentence = "This ledger was written by a newer version of Lockgate."


class LedgerCorrupt(LedgerError):
    """The file is damaged."""

    code = "ledger-corrupt"
    sentence = "This ledger is damaged: restore it from a backup."


class LedgerUnreachable(LedgerError):
    """The file or its folder cannot be opened."""

    code = "ledger-unreachable"
    sentence = "The ledger cannot be opened."


class LedgerFull(LedgerError):
    """The disk is full: nothing of the transaction was stored. It may be tried again."""

    code = "ledger-full"
    sentence = "The disk of the ledger is full."


class LedgerBroken(LedgerError):
    """The disk failed while writing. What it holds is unknown until the ledger is opened again."""

    code = "ledger-broken"
    sentence = "The disk of the ledger failed."


class LedgerClosed(LedgerError):
    """The ledger was closed."""

    code = "ledger-closed"
    sentence = "The ledger is closed."


class StepRefused(LedgerError):
    """The enclave's effects do not fit what the ledger holds: an input that is not waiting, an old version."""

    code = "step-refused"
    sentence = "The effects of a step do not fit the ledger."
