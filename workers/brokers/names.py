"""Which names may go into a request, at any venue. All raise ValueError rather than change its meaning. Pure."""

from urllib.parse import quote


def named(name: str) -> str:
    """A name that may go into a request; raises ValueError for one that could change its meaning."""
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError(f"not a name: {name!r}")
    return name


def segment(name: str) -> str:
    """A name as one segment of a path. HTTP clients fold dot segments even when quoted, so those are no names."""
    if named(name) in (".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"not a name for a path: {name!r}")
    return quote(name, safe="")
