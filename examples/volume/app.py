"""Counts requests in a file that survives releases. One process writes it at a time."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COUNTER = Path(os.environ.get("DATA", "/data")) / "counter"
lock = threading.Lock()


def count() -> int:
    """Writes the next number to the side, then puts it in place: never half a number."""
    with lock:
        number = int(COUNTER.read_text()) + 1 if COUNTER.exists() else 1
        beside = COUNTER.with_suffix(".new")
        beside.write_text(str(number))
        beside.replace(COUNTER)
        return number


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        # Checks must not count.
        text = "ok" if self.path == "/health" else str(count())
        body = f"{text}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
sys.exit(0)
