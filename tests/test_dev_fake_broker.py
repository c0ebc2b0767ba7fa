"""Tests of the fake server's own parts; as a broker it is tested with the servers."""

from __future__ import annotations

import signal
import socket
import threading

import pytest

from signal_tasks.dev.fake_broker import PromptServer, end


def test_connection_sends_small_packets_at_once() -> None:
    """An accepted connection does not wait for more to send."""
    with (
        PromptServer(("127.0.0.1", 0)) as server,
        socket.create_connection(("127.0.0.1", server.server_address[1])),
    ):
        connection, _ = server.get_request()

        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_request_to_end_is_a_success() -> None:
    """The signal to end leaves the process with exit code 0."""
    with pytest.raises(SystemExit) as caught:
        end(signal.SIGTERM, None)

    assert caught.value.code is None


def test_connection_survives_an_error() -> None:
    """After an error reply the same connection answers the next command."""
    server = PromptServer(("127.0.0.1", 0))
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever)
    serving.start()

    with socket.create_connection(("127.0.0.1", server.server_address[1])) as client:
        client.sendall(b"*3\r\n$7\r\nEVALSHA\r\n$1\r\nx\r\n$1\r\n0\r\n")
        error = client.recv(1000)
        client.sendall(b"*1\r\n$4\r\nPING\r\n")
        answer = client.recv(1000)

    server.shutdown()
    serving.join()
    server.server_close()
    assert error.startswith(b"-NOSCRIPT")
    assert b"PONG" in answer
