"""`python -m tests.simulators.okx`: the simulator as a process of its own, with a small book."""

import os
import sys

from tests.simulators.line import process

from .demonstration import demonstration_book
from .server import OkxSimulator

VARIABLES = ("OKX_API_KEY", "OKX_API_SECRET", "OKX_PASSPHRASE")


def main() -> int:
    parser = process.parser("okx", __doc__)
    parser.add_argument("--live", action="store_true", help="be the live environment in place of the demo")
    options = parser.parse_args()
    venue = OkxSimulator(
        *(os.environ.get(name) or None for name in VARIABLES),
        book=demonstration_book(options.moving),
        host=options.host,
        port=options.port,
        rate_limit=options.rate_limit,
        demo=not options.live,
    )
    let_in = f"the credential in {', '.join(VARIABLES)}" if venue.credential else "any credential"
    return process.serve(venue, "OKX", let_in)


if __name__ == "__main__":
    sys.exit(main())
