"""Passwords of the dashboard's users, as argon2 hashes."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$EmJ8FdUKkTcw9u7emqf7Bw$01PcxMdKlsvIS4wlurImpRlA+QAKRjWCOeNSrYr6uFA"
"""A hash that no password fits: an unknown name must take as long as a wrong password."""


def password_hash(password: str) -> str:
    return _HASHER.hash(password)


def fits(hashed: str | None, password: str) -> bool:
    """Whether the password is the one of this hash. None is nobody's, and takes as long."""
    try:
        _HASHER.verify(hashed or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return hashed is not None
