"""The shop's services over HTTP: stock, payments, e-mail. Stands in for the real ones, with their manners.

Every request needs an ``Idempotency-Key``; a repeated key gets the first answer again and does nothing twice. The
first authorization under a new key is answered 503 with ``Retry-After``, as by a service that is just scaling up.

Run it with ``python -m examples.checkout_api.payment_server [PORT]``.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STOCK = {"MUG-01": 12, "TEE-XL": 3, "CAP-RD": 0}
RETRY_AFTER_SECONDS = 1

Answer = tuple[HTTPStatus, dict[str, object]]


class ShopServer(ThreadingHTTPServer):
    """The services and what they did.

    Attributes:
        requests: path, idempotency key and status of every request.
        done: what was done, by path and idempotency key.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _RequestHandler)
        self.requests: list[tuple[str, str, int]] = []
        self.done: dict[tuple[str, str], Answer] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, key: str, body: dict) -> Answer:
        """Do what is asked unless the key has been seen, and note the request."""
        with self._lock:
            status, content = self.done.get((path, key)) or self._act(path, key, body)
            if status is not HTTPStatus.SERVICE_UNAVAILABLE:
                self.done[path, key] = status, content
            self.requests.append((path, key, int(status)))
        return status, content

    def _act(self, path: str, key: str, body: dict) -> Answer:
        match path:
            case "/reservations":
                missing = [item["sku"] for item in body["items"] if STOCK.get(item["sku"], 0) < item["quantity"]]
                if missing:
                    return HTTPStatus.CONFLICT, {"code": "out_of_stock", "message": f"sold out: {', '.join(missing)}"}
                return HTTPStatus.CREATED, {"reservation_id": f"res_{key}"}
            case "/authorizations":
                if not self._seen(path, key):
                    return HTTPStatus.SERVICE_UNAVAILABLE, {"code": "busy", "message": "scaling up"}
                if body["token"] == "tok_declined":
                    return HTTPStatus.PAYMENT_REQUIRED, {"code": "insufficient_funds", "message": "card declined"}
                return HTTPStatus.CREATED, {"authorization_id": f"auth_{key}", "amount_cents": body["amount_cents"]}
            case "/emails":
                return HTTPStatus.ACCEPTED, {"message_id": f"msg_{key}"}
        return HTTPStatus.NOT_FOUND, {"code": "not_found", "message": f"nothing at {path}"}

    def _seen(self, path: str, key: str) -> bool:
        return any(request[:2] == (path, key) for request in self.requests)


class _RequestHandler(BaseHTTPRequestHandler):
    server: ShopServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        if key is None:
            status, content = HTTPStatus.BAD_REQUEST, {"code": "no_key", "message": "Idempotency-Key is required"}
        else:
            status, content = self.server.answer(self.path, key, body)
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", str(RETRY_AFTER_SECONDS))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: object) -> None:
        """Keep quiet; the server notes requests itself."""


@contextlib.contextmanager
def running() -> Iterator[ShopServer]:
    """Serve on a free port, from a thread, until the body ends."""
    with ShopServer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


if __name__ == "__main__":
    with ShopServer(int(sys.argv[1]) if len(sys.argv) > 1 else 8700) as shop:
        print(f"the shop's services listen on {shop.url}; stop them with Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            shop.serve_forever()
