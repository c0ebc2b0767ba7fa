"""The fake Redis server, run as a script: the last resort where no real server is.

It keeps everything in memory, is about half as fast as a real server, and lets in
whoever connects from this machine, for it knows no passwords. It says which port it
has found.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from fakeredis import TcpFakeServer
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from types import FrameType


class PatientConnection:
    """Mixed into fakeredis's handler: an error reply does not end the connection.

    fakeredis 2.40 hangs up after one. A client that uses its connection again before it
    hears of that, after a NOSCRIPT for instance, would lose what it sends.
    """

    current_client: Any

    def setup(self) -> None:
        """Take errors for the replies that they are, before the first command."""
        super().setup()  # type: ignore[misc]
        read = self.current_client.read_response

        def read_or_error() -> object:
            try:
                return read()
            except ResponseError as error:
                return error

        self.current_client.read_response = read_or_error


class PromptServer(TcpFakeServer):
    """The fake server without the kernel's 40 ms of waiting in every pipeline."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address)
        handler: Any = self.RequestHandlerClass
        patient: Any = type("Handler", (PatientConnection, handler), {})
        self.RequestHandlerClass = patient

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection that sends small packets at once."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


def end(_signum: int, _frame: FrameType | None) -> NoReturn:
    """End this process as a program that has finished."""
    sys.exit()


if __name__ == "__main__":
    server = PromptServer(("127.0.0.1", 0))
    server.daemon_threads = True  # an open connection does not keep us from ending
    signal.signal(signal.SIGTERM, end)
    port = server.server_address[1]
    print("listening on", port, flush=True)  # noqa: T201  (to who started us)
    server.serve_forever()
