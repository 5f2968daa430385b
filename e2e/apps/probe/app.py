"""An app that the end-to-end tests look through: every path shows one thing that a platform
can get wrong. Nothing but the standard library, so that it is built in a moment.

VERSION in this file is what tests replace in order to push a change.
"""

import base64
import hashlib
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

VERSION = 1
DATA = os.environ.get("DATA", "/data")


def stop(_signal, _frame):
    print("stopping", flush=True)
    os._exit(0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are written one after the other; do not wait for the other side in between.
    disable_nagle_algorithm = True

    def log_message(self, *_arguments):
        pass

    def answer(self, text, status=200):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if HANGING.is_set():
            time.sleep(1_000_000)
        url = urlparse(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        page = getattr(self, "page_" + url.path.strip("/").replace("-", "_"), None)
        if url.path == "/":
            self.answer(f"probe {VERSION}\n")
        elif page:
            page(query)
        else:
            self.answer("no such page\n", 404)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        digest = hashlib.sha256()
        while length > 0:
            piece = self.rfile.read(min(length, 65536))
            if not piece:
                return
            digest.update(piece)
            length -= len(piece)
        self.answer(f"probe {VERSION} {digest.hexdigest()}\n")

    def page_environment(self, _query):
        self.answer(json.dumps(dict(os.environ)))

    def page_headers(self, _query):
        self.answer(json.dumps({key.lower(): value for key, value in self.headers.items()}))

    def page_slow(self, query):
        """Streams the answer in pieces over `ms` milliseconds."""
        pieces = 10
        text = f"probe {VERSION}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text) + pieces))
        self.end_headers()
        self.wfile.write(text)
        for _ in range(pieces):
            time.sleep(int(query.get("ms", "1000")) / 1000 / pieces)
            self.wfile.write(b".")
            self.wfile.flush()

    def page_download(self, query):
        """So many mebibytes, slowly; each byte says where it stands."""
        length = int(query.get("mib", "1")) << 20
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        sent = 0
        while sent < length:
            begin = sent % 251
            piece = DOWNLOAD[begin : begin + min(65536, length - sent)]
            self.wfile.write(piece)
            sent += len(piece)
            time.sleep(0.02)

    def page_count(self, _query):
        """A counter in a file: one writer or it goes wrong."""
        path = os.path.join(DATA, "count")
        with LOCK:
            try:
                with open(path) as file:
                    count = int(file.read())
            except FileNotFoundError:
                count = 0
            count += 1
            with open(path + ".new", "w") as file:
                file.write(str(count))
            os.replace(path + ".new", path)
        self.answer(f"probe {VERSION} count {count}\n")

    def page_crash(self, _query):
        print("about to crash as asked", flush=True)
        os._exit(3)

    def page_flood(self, query):
        """Writes as many lines as it can for `s` seconds."""
        end = time.monotonic() + float(query.get("s", "3"))
        line = ("flood " + "x" * 94 + "\n") * 1000
        count = 0
        while time.monotonic() < end:
            sys.stdout.write(line)
            count += 1000
        sys.stdout.flush()
        print("flood is over", flush=True)
        self.answer(f"probe {VERSION} wrote {count}\n")

    def page_say(self, query):
        print(query.get("text", ""), flush=True)
        self.answer(f"probe {VERSION}\n")

    def page_fetch(self, query):
        """What this app sees of another address."""
        try:
            with urllib.request.urlopen(query["url"], timeout=5) as reply:
                self.answer(f"{reply.status} {reply.read(2000).decode(errors='replace')}")
        except urllib.error.HTTPError as error:
            self.answer(f"{error.code} {error.read(2000).decode(errors='replace')}")
        except OSError as error:
            self.answer(f"error {error}")

    def page_hang(self, _query):
        """Lives on, but answers nothing any more."""
        self.answer("hanging\n")
        HANGING.set()

    def page_memory(self, query):
        """Takes so many mebibytes."""
        self.server.hoard = b"x" * (int(query.get("mib", "10")) << 20)
        self.answer(f"probe {VERSION}\n")

    def page_ws(self, _query):
        """A websocket that first says its version and then sends back what it gets."""
        key = self.headers.get("Sec-WebSocket-Key", "")
        accept = base64.b64encode(
            hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        ).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        self.send_frame(0x1, f"probe {VERSION}".encode())
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            kind, length = head[0] & 0x0F, head[1] & 0x7F
            if length == 126:
                length = int.from_bytes(self.rfile.read(2), "big")
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(length)))
            if kind == 0x8:
                self.send_frame(0x8, data)
                return
            self.send_frame(0xA if kind == 0x9 else kind, data)

    def send_frame(self, kind, data):
        self.wfile.write(bytes([0x80 | kind, len(data)]) + data)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


DOWNLOAD = bytes(range(251)) * 300
LOCK = threading.Lock()
HANGING = threading.Event()

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    port = int(os.environ.get("PORT", "8000"))
    server = Server(("0.0.0.0", port), Handler)
    print(f"probe {VERSION} listens on {port}", flush=True)
    server.serve_forever()
