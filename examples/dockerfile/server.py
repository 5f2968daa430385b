"""Listens on the port that the Dockerfile exposes; signs the path that it was asked for."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from itsdangerous import Signer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = Signer("not a secret").sign(self.path) + b"\n"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("0.0.0.0", 9000), Handler).serve_forever()
