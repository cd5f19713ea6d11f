"""Values that must never be printed."""

import hashlib


class Secret:
    """A secret text. Printing it shows stars; `reveal` is the only way in."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def digest(self) -> bytes:
        return hashlib.sha256(self._text.encode()).digest()

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())
