"""Who may look and who may act: dashboard users with a password, and bearers of API tokens."""

import hashlib
import hmac
from collections.abc import Sequence

from flask import Flask, current_app, g, request
from flask_login import LoginManager, UserMixin

from app import passwords
from app.web.problems import problem
from app.web.strangers import turned_away
from config.environment import User


class SignedIn(UserMixin):
    """A user of the dashboard, for Flask-Login."""

    def __init__(self, user: User) -> None:
        # A session is of a name and its password as it is now: a new one ends the sessions of the old.
        self.id = f"{user.name}:{user.secret.digest().hex()[:16]}"
        self.name = user.name
        self.role = user.role


def init_app(app: Flask, users: Sequence[User]) -> None:
    """Let these users sign in."""
    known: dict[str, User] = {user.name: user for user in users}
    manager = LoginManager(app)
    manager.login_view = "dashboard.login"
    manager.login_message = None
    manager.session_protection = "strong"

    @manager.user_loader
    def load(user_id: str) -> SignedIn | None:
        user = known.get(user_id.partition(":")[0])
        found = SignedIn(user) if user else None
        return found if found and found.id == user_id else None

    app.extensions["flatwire_users"] = known


def signed_in(name: str, password: str) -> SignedIn | None:
    """The user of that name and password, or None."""
    user: User | None = current_app.extensions["flatwire_users"].get(name)
    hashed = user.secret.reveal() if user else None
    return SignedIn(user) if passwords.fits(hashed, password) and user else None


def require_token() -> object | None:
    """Before each request of the API: a bearer token that we know, or 401 (429 too often); to act, an operator's, or 403."""
    bearer = _bearer()
    if bearer is None:
        if too_often := turned_away(
            None, "wrong_token" if "Authorization" in request.headers else "no_token"
        ):
            return too_often
        detail = "send Authorization: Bearer <token>, with a token of API_TOKENS"
        return problem(401, "Not authenticated", detail, headers={"WWW-Authenticate": "Bearer"})
    if request.method not in ("GET", "HEAD", "OPTIONS") and bearer.role != "operator":
        return problem(403, "Not allowed", "this token is a viewer's: acting needs one of an operator")
    g.actor = f"api token {bearer.secret.digest().hex()[:8]}"
    return None


def _bearer() -> User | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = hashlib.sha256(token.strip().encode("utf-8", "surrogatepass")).digest()
    tokens: Sequence[User] = current_app.extensions["flatwire_api_tokens"]
    known = [user for user in tokens if hmac.compare_digest(given, user.secret.digest())]
    return known[0] if scheme.lower() == "bearer" and known else None
