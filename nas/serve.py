"""`nas dashboard`: the Optuna dashboard on the database of the studies, on loopback only. No torch, no Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nas.errors import NasError
from nas.store import Ledger
from nas.store.engine import engine_options
from nas.studies import default_storage

_HOST = "127.0.0.1"


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Requests are nobody's news."""


class _Server(WSGIServer):
    """Answers each request in a thread of its own, so that a slow page does not hold up the next."""

    daemon_threads = True

    def process_request(self, request: object, client_address: object) -> None:
        threading.Thread(target=self._answer, args=(request, client_address), daemon=True).start()

    def _answer(self, request: object, client_address: object) -> None:
        try:
            self.finish_request(request, client_address)  # type: ignore[arg-type]
        except OSError:
            pass        # the browser went away
        finally:
            self.shutdown_request(request)  # type: ignore[arg-type]


def serve_dashboard(storage: str | None, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `ready` is called with the address. Raises `NasError` where there is no database or port."""
    with Ledger.open(storage or default_storage(), create=False) as ledger:
        if not ledger.studies():
            raise NasError(f"{ledger} holds no study yet; start one with nas run")
        url = ledger.url
    from optuna.storages import RDBStorage
    from optuna_dashboard import wsgi

    backend = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine_options(url))

    try:
        server = make_server(_HOST, port, wsgi(backend), server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise NasError(f"port {port} cannot be used: {error.strerror}; give another one with --port") from None
    with server:
        ready(f"http://{_HOST}:{server.server_port}/dashboard/")
        server.serve_forever()
