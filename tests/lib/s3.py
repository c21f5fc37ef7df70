"""An S3-compatible store in memory: recomputes every signature (AWS Signature Version 4) and can fail, stall, truncate and forget."""
import hashlib
import hmac
import http.server
import threading
import urllib.parse
from xml.sax.saxutils import escape

PAGE = 3  # keys in a list: small, so that lists have pages


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def signature(self, scope, names, body_hash):
        """As the specification says, from what came over the wire."""
        path, _, query = self.path.partition("?")
        query = "&".join(sorted(query.split("&"))) if query else ""
        headers = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in names)
        canonical = "\n".join([self.command, path, query, headers, ";".join(names), body_hash])
        date = self.headers["x-amz-date"]
        to_sign = "\n".join(["AWS4-HMAC-SHA256", date, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.server.store.secret).encode()
        for part in scope:
            key = sign(key, part)
        return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()

    def is_signed(self, body):
        store, claimed = self.server.store, self.headers["x-amz-content-sha256"]
        try:
            kind, rest = self.headers["Authorization"].split(" ", 1)
            parts = dict(part.strip().split("=", 1) for part in rest.split(","))
            key_id, *scope = parts["Credential"].split("/")
            names = parts["SignedHeaders"].split(";")
        except (AttributeError, KeyError, ValueError):
            return "AccessDenied"
        if kind != "AWS4-HMAC-SHA256" or key_id != store.key_id or scope[1:] != [store.region, "s3", "aws4_request"]:
            return "InvalidAccessKeyId"
        if not {"host", "x-amz-content-sha256", "x-amz-date"} <= set(names) or scope[0] != self.headers["x-amz-date"][:8]:
            return "AccessDenied"
        if claimed != hashlib.sha256(body).hexdigest():
            return "XAmzContentSHA256Mismatch"
        return None if hmac.compare_digest(self.signature(scope, names, claimed), parts["Signature"]) else "SignatureDoesNotMatch"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, code):
        self.server.store.refused.append(code)
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def serve(self):
        store = self.server.store
        store.requests += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = store.fault(self.command)
        if fault == "close":
            self.close_connection = True
            return
        if fault and fault.startswith("http:"):
            self.send_response(301)
            self.send_header("Location", fault + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "stall":
            store.released.wait(600)
            self.close_connection = True
            return
        problem = self.is_signed(body)
        if problem:
            self.refuse(403, problem)
        elif fault == "fail":
            self.refuse(500, "InternalError")
        else:
            getattr(self, "serve_" + self.command.lower())(body, fault)

    do_GET = do_PUT = do_DELETE = serve

    def key(self):
        bucket, _, key = urllib.parse.unquote(self.path.partition("?")[0])[1:].partition("/")
        return key if bucket == self.server.store.bucket else None

    def serve_put(self, body, fault):
        store = self.server.store
        store.objects[self.key()] = body[:len(body) // 2] if fault == "truncate" else body
        self.answer(200)

    def serve_delete(self, _body, _fault):
        self.server.store.objects.pop(self.key(), None)
        self.answer(204)

    def serve_get(self, _body, fault):
        store, key = self.server.store, self.key()
        if key == "":
            self.list(urllib.parse.parse_qs(self.path.partition("?")[2]))
        elif key not in store.objects:
            self.refuse(404, "NoSuchKey")
        elif fault in ("truncate", "stall halfway"):
            body = store.objects[key]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:len(body) // 2])
            if fault == "stall halfway":
                self.wfile.flush()
                store.released.wait(600)
            self.close_connection = True
        else:
            self.answer(200, store.objects[key])

    def list(self, query):
        store = self.server.store
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        keys = sorted(k for k in store.objects if k.startswith(prefix) and k > after)
        page = keys[:PAGE]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(keys) > PAGE else ""
        body = "".join(f"<Contents><Key>{escape(k)}</Key></Contents>" for k in page)
        self.answer(200, f"<ListBucketResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{body}</ListBucketResult>".encode())


class Store:
    """Listens on 127.0.0.1; faults: {"PUT": "stall"} and the like, looked at with each request."""

    def __init__(self, bucket="backups", region="eu-test-1", key_id="AKIDTEST", secret="a+secret/of=the test", context=None):
        self.bucket, self.region, self.key_id, self.secret = bucket, region, key_id, secret
        self.objects, self.refused, self.faults, self.requests = {}, [], {}, 0
        self.released = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.store = self
        self.scheme = "http"
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fault(self, command):
        return self.faults.get(command)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}"

    def mend(self):
        """What stalls goes on, and nothing fails any more."""
        self.faults = {}
        self.released.set()
        self.released = threading.Event()

    def stop(self):
        self.released.set()
        self.server.shutdown()
