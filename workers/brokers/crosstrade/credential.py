"""CrossTrade's bearer token, and how it is shown."""

from config.secrets import Secret


def authorization(token: Secret) -> str:
    """https://crosstrade.io/docs, authentication: the value of the Authorization header."""
    return f"Bearer {token.reveal()}"
