"""An address on this machine that people's messages are sent to, by Apprise's `json://`."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mailbox(ThreadingHTTPServer):
    """Keeps what it is sent; while it is `broken` it answers 500, and keeps nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Letters)
        self.messages: list[tuple[str, str]] = []
        """Title and text, in the order of arrival."""
        self.broken = False
        self.url = f"json://127.0.0.1:{self.server_address[1]}/a-secret-path"

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.messages)


class _Letters(BaseHTTPRequestHandler):
    server: Mailbox

    def do_POST(self) -> None:
        letter = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.broken:
            self.server.messages.append((letter["title"], letter["message"]))
        self.send_response(500 if self.server.broken else 200)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
