"""
Why an alert is not taken:

* AlertRefused
  - UnreadableAlert  can't be read at all
  - WrongAlert       read, and wrong: with every fault
  - NotAllowed       read and right, but this hook may not do that
* NoExit             understood, and asks for nothing that closes
"""

from app.strict import Fault


class AlertRefused(Exception):
    """Raised when an alert is not taken; carries every fault found, each with a hint."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{f.field}: {f.message}" if f.field else f.message for f in faults))
        self.faults = faults


class UnreadableAlert(AlertRefused):
    """Raised when the bytes are not a JSON object, key=value pairs or a sentence."""


class WrongAlert(AlertRefused):
    """Raised when a text was read and asks for something that can't be meant."""


class NotAllowed(AlertRefused):
    """Raised when a text asks for what its hook may not do."""


class NoExit(Exception):
    """Raised when a text is understood and asks for nothing that closes: an entry of a strategy, say."""
