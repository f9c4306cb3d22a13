#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Serves a directory over HTTP and misbehaves: hostile.py DIR MODE [SUFFIX], for paths that end in SUFFIX.

Prints its URL. `stall` sends headers and half of the body, then nothing until the client goes.
"""
import http.server, os, sys, time

root, mode = sys.argv[1], sys.argv[2]
suffix = sys.argv[3] if len(sys.argv) > 3 else ".filez"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def head(self, length, status=200, extra=()):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in extra:
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        try:
            with open(root + self.path, "rb") as f:
                body = f.read()
        except OSError:
            return self.head(0, 404)
        if not self.path.endswith(suffix):
            self.head(len(body))
            return self.wfile.write(body)
        self.close_connection = True
        getattr(self, "do_" + mode)(body)

    def do_stall(self, body):
        self.head(len(body))
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        time.sleep(600)

    def do_cut(self, body):
        self.head(len(body))
        self.wfile.write(body[: len(body) // 2])

    def do_flip(self, body):
        self.head(len(body))
        self.wfile.write(body[:-3] + bytes([body[-3] ^ 1]) + body[-2:])

    def do_other(self, body):
        self.head(5)
        self.wfile.write(b"<html")

    def do_empty(self, body):
        self.head(0)

    def do_500(self, body):
        self.head(0, 500)

    def do_loop(self, body):
        self.head(0, 302, [("Location", self.path)])

    def do_file(self, body):
        self.head(0, 302, [("Location", "file:///etc/passwd")])

    def do_endless(self, body):
        self.head(None)
        while True:
            self.wfile.write(body + b"\0" * 65536)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass  # the client went


server = Server(("127.0.0.1", 0), Handler)
print("http://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
