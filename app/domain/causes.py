"""Why somebody is told (design, section 5, `notify.on`)."""

from app.domain.statuses import GRAVEST_FIRST

REFUSED = "refused"
"""An alert was authenticated, and is no order that its hook may give."""
HEARTBEAT = "heartbeat"
"""A hook heard nothing for longer than it should."""
HEALTH = "health"
"""No worker is alive, Redis is gone, or a broker does not answer."""

CAUSES: tuple[str, ...] = (HEALTH, *GRAVEST_FIRST, HEARTBEAT, REFUSED)
"""All of them, by how much a minute may cost."""
