"""CrossTrade's bearer token: how it is shown, and how it stays out of what is kept."""

from config.secrets import Secret


def authorization(token: Secret) -> str:
    """https://crosstrade.io/docs, authentication: the value of the Authorization header."""
    return f"Bearer {token.reveal()}"


def without(text: str, token: Secret) -> str:
    """A venue may echo what it was sent; the credential must not get into the ledger that way."""
    return text.replace(token.reveal(), "***")
