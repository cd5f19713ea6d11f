"""A run as it is kept: all numbers as JSON, and a page for people beside it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, Finding, Note, page

RESULTS, TRIALS = Path("benchmarks/results"), Path("var/benchmarks")


def written(
    machine: Mapping[str, Any],
    found: Mapping[str, Sequence[Finding]],
    *,
    part: str = "",
    short: bool,
    folder: Path | None = None,
) -> Path:
    """Write both files; the path of the page. `part` names what was measured, if that was not all.

    A run of what is in no commit is named so; a short one is no result.
    """
    folder = folder or (TRIALS if short else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    marks = ("-dirty" if machine["dirty"] else "") + ("-short" if short else "")
    name = f"{machine['date'][:10]}-{machine['commit']}{f'-{part}' if part else ''}{marks}"
    document = {
        "machine": dict(machine),
        "short": short,
        "subjects": {subject: _as_json(findings) for subject, findings in found.items()},
    }
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    told = folder / f"{name}.md"
    told.write_text("\n".join(_page(machine, found, short)) + "\n")
    return told


def _as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "figures": [it.as_json() for it in findings if isinstance(it, Figure)],
        "notes": [it.text for it in findings if isinstance(it, Note)],
    }


def _page(machine: Mapping[str, Any], found: Mapping[str, Sequence[Finding]], short: bool) -> Iterator[str]:
    yield f"# Benchmarks of {machine['date'][:10]}, commit {machine['commit']}"
    yield ""
    yield "How to read it: `docs/benchmarks.md`."
    if machine["dirty"]:
        yield "The tree had changes that are in no commit."
    if short:
        yield "A short run: it shows that the bench works, and its figures mean nothing."
    yield ""
    for name, value in machine.items():
        told = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        yield f"- {name.replace('_', ' ')}: {told}"
    for subject, findings in found.items():
        yield ""
        yield f"## {subject}"
        yield ""
        yield from page(findings)
