"""The dashboard: one module a page. What changes is asked for again every two seconds; no view holds a thread longer.

Importing a module puts its page on the blueprint.
"""

from app.web.pages import (
    act,
    alerts,
    attention,
    closes,
    commands,
    filters,
    hooks,
    login,
    overview,
    positions,
    system,
)
from app.web.pages.base import dashboard

__all__ = [
    "act",
    "alerts",
    "attention",
    "closes",
    "commands",
    "dashboard",
    "filters",
    "hooks",
    "login",
    "overview",
    "positions",
    "system",
]
