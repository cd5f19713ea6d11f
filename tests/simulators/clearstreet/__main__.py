"""`python -m tests.simulators.clearstreet`: the simulator as a process of its own, with a small book."""

import os
import sys

from tests.simulators.line import process

from .demonstration import demonstration_book
from .server import ClearStreetSimulator


def main() -> int:
    parser = process.parser("clearstreet", __doc__)
    parser.add_argument("--key-env", default="CLEARSTREET_API_KEY", help="variable with the API key")
    options = parser.parse_args()
    venue = ClearStreetSimulator(
        os.environ.get(options.key_env) or None,
        book=demonstration_book(options.moving),
        host=options.host,
        port=options.port,
        rate_limit=options.rate_limit,
    )
    let_in = f"the key in {options.key_env}" if venue.api_key else "any bearer key"
    return process.serve(venue, "Clear Street", let_in)


if __name__ == "__main__":
    sys.exit(main())
