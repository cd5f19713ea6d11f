"""`python -m tests.fuzz [texts] [seed]`: hostile alerts at the door, on a real ledger; non-zero exit if one is a 5xx.

The texts are those of the corpora, mangled: bytes cut, doubled, swapped and replaced, fields renamed, values exchanged for
what parsers trip over; at every hook, by every way to carry the secret.
"""

import json
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import structlog

from tests.unit.test_alerts import CORPORA
from tests.web import API_TOKEN, SECRETS_OF, Door, closing_ledger, give, web_app

TEXTS, SEED = 100_000, 20261121
NASTY = (
    *(
        "",
        " ",
        "\0",
        "\ufeff",
        "\u202e",
        "💣",
        "{{ticker}}",
        "NaN",
        "-1",
        "1e999",
        "9" * 400,
        "0x10",
        "1_000",
        "٣",
        "½",
    ),
    *(
        "null",
        "true",
        "[]",
        "{}",
        '"',
        "'",
        "\\",
        "\\u0000",
        "..",
        "/",
        "%2e%2e",
        "*",
        ";",
        "=",
        ",",
        "\n",
        "//",
    ),
    *(
        "flatten everything",
        ";command=FLATTENEVERYTHING",
        "{" * 500,
        "[" * 500,
        "<script>",
        "=cmd|' /C calc'!A0",
    ),
)
RAW = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf", b"\r\n", b"\x1b[31m")


def corpus() -> list[str]:
    return [
        json.loads(line)["text"]
        for path in sorted(CORPORA.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def mangled(texts: list[str], chance: random.Random) -> bytes:
    """One text of the corpora, changed at a few places."""
    text = chance.choice(texts)
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        at, until = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        until = min(until, at + 12)
        change = chance.randrange(6)
        if change == 0:
            text = text[:at] + text[until:]
        elif change == 1:
            text = text[:until] + text[at:]
        elif change == 2:
            text = text[:at] + chance.choice(NASTY) + text[until:]
        elif change == 3:
            text = text[:at] + chance.choice(texts)[:40] + text[at:]
        elif change == 4:
            text = text[:at] + text[at:until].swapcase() + text[until:]
        else:
            text = text[:at] + chr(chance.randrange(0x110000) or 1) + text[until:]
    body = text.encode("utf-8", "surrogatepass")
    if not chance.randrange(8):
        at = chance.randrange(len(body) + 1)
        body = body[:at] + chance.choice(RAW) + body[at:]
    return body * chance.choice((1,) * 50 + (2, 300))


def deliveries(count: int, chance: random.Random) -> Iterator[tuple[bytes, str, str | None, dict[str, str]]]:
    """Body, path, bearer and headers of each."""
    texts = corpus()
    for _ in range(count):
        hook = chance.choice([*SECRETS_OF, "nowhere"])
        secret = SECRETS_OF.get(hook, "no secret")
        query = chance.choice(("",) * 8 + ("?dry_run=1", "?dry_run=" + chance.choice(NASTY[:16]).strip("\0")))
        body, headers = mangled(texts, chance), {}
        if not chance.randrange(10):
            headers["Idempotency-Key"] = str(chance.randrange(50))
        way = chance.randrange(5)
        if way == 0:
            yield body, f"/hooks/{hook}/{secret}{query}", None, headers
        elif way == 1:
            yield b"key=" + secret.encode() + b";" + body, f"/hooks/{hook}{query}", None, headers
        elif way == 2 and not chance.randrange(20):
            yield body, f"/hooks/{hook}{query}", chance.choice(NASTY[5:20]), headers
        else:
            yield body, f"/hooks/{hook}{query}", secret, headers


def main(count: int, seed: int) -> int:
    chance, answers, broken = random.Random(seed), Counter[int](), []
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        app = web_app(Path(folder))
        app.extensions["flatwire_hooks"] = {
            name: hook for name, hook in app.extensions["flatwire_hooks"].items() if name != "calm"
        }
        with closing_ledger(f"sqlite:///{folder}/first.db") as ledger:
            give(app, ledger)
            door = Door(app, ledger)
            for body, path, bearer, headers in deliveries(count, chance):
                address = f"198.51.{chance.randrange(256)}.{chance.randrange(256)}"
                answer = door.send(body, path, bearer, address, **headers)
                answers[answer.status_code] += 1
                if answer.status_code >= 500:
                    broken.append((answer.status_code, path, body[:200]))
            listed = door.get("/api/v1/alerts", token=API_TOKEN, limit=200)
            if listed.status_code != 200:
                broken.append((listed.status_code, "/api/v1/alerts", b""))
    seconds = time.monotonic() - began
    print(
        f"{count} texts, seed {seed}, {seconds:.0f} s: "
        + ", ".join(f"{k}: {n}" for k, n in sorted(answers.items()))
    )
    for status, path, body in broken[:20]:
        print(f"  {status} {path} {body!r}")
    print(f"{len(broken)} answers were a 5xx")
    return 1 if broken else 0


if __name__ == "__main__":
    numbers = [int(it) for it in sys.argv[1:]]
    sys.exit(main(*(numbers + [TEXTS, SEED][len(numbers) :])))
