"""`python -m tests.capabilities`: writes the table of what each venue can do into docs/brokers.md, from its row."""

from pathlib import Path

from app.domain.capabilities import CAPABILITIES
from app.domain.venues import VENUES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "brokers.md"
BEGIN = "<!-- made of app/domain/venues.py by `python -m tests.capabilities` -->"
END = "<!-- end of the table -->"


def table() -> str:
    """What each venue can do, a column each, in Markdown."""
    venues = tuple(VENUES.values())
    lines = [
        ["", *(f"{venue.title}, `{venue.kind}`" for venue in venues)],
        ["---"] * (1 + len(venues)),
        *([label, *map(render, venues)] for label, render in CAPABILITIES.values()),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table_on_the_page() -> str:
    return PAGE.read_text().partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0]


def main() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
