"""A way to a broker that can be cut, and that can fall silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

_CHUNK: Final = 65536


class Proxy:
    """Passes bytes between clients and a broker, until it is told to do otherwise.

    Args:
        broker_url: Of a broker that answers.
    """

    def __init__(self, broker_url: str) -> None:
        self._broker = urlsplit(broker_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._speaks = threading.Event()
        self._speaks.set()
        self._run(self._accept)

    @property
    def url(self) -> str:
        """The URL of the broker by this way."""
        login, _, _ = self._broker.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        return self._broker._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """End all connections that there are; new ones may be made."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def say(self, data: bytes) -> None:
        """Send *data* to all clients that there are, as if the broker had said it."""
        for client in self._clients:
            client.sendall(data)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Keep back whatever is said while the block runs."""
        self._speaks.clear()
        try:
            yield
        finally:
            self._speaks.set()

    def close(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._speaks.set()
        self.cut()
        for thread in self._threads:
            thread.join()
        for one in (self._listener, *self._sockets):
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):  # when the listener is shut down
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection(
                    (self._broker.hostname, self._broker.port)
                )
                self._sockets += [client, upstream]
                self._clients.append(client)
                self._run(self._pass_on, client, upstream)
                self._run(self._pass_on, upstream, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # when either of them is shut down
            while chunk := source.recv(_CHUNK):
                self._speaks.wait()
                target.sendall(chunk)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _run(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()


@contextmanager
def proxy_to(broker_url: str) -> Iterator[Proxy]:
    """Give another way to the broker at *broker_url*."""
    proxy = Proxy(broker_url)
    try:
        yield proxy
    finally:
        proxy.close()
