"""`python -m tests.simulators.crosstrade`: the simulator as a process of its own, with a small book."""

import os
import sys

from tests.simulators.line import process

from .demonstration import demonstration_book
from .server import CrossTradeSimulator


def main() -> int:
    parser = process.parser("crosstrade", __doc__)
    parser.add_argument("--token-env", default="CROSSTRADE_TOKEN", help="variable with the bearer token")
    options = parser.parse_args()
    venue = CrossTradeSimulator(
        os.environ.get(options.token_env) or None,
        book=demonstration_book(options.moving),
        host=options.host,
        port=options.port,
        rate_limit=options.rate_limit,
    )
    let_in = f"the token in {options.token_env}" if venue.token else "any bearer token"
    return process.serve(venue, "CrossTrade", let_in)


if __name__ == "__main__":
    sys.exit(main())
