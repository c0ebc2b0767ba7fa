"""A small load generator, where there is no ``wrk``: ``python -m benchmarks.load URL``."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from urllib.parse import urlsplit

CONNECTIONS = 8


def main(url: str, seconds: float) -> None:
    """Print how many requests a second *url* has answered."""
    answered: list[int] = []
    deadline = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_ask, args=(url, deadline, answered))
        for _ in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(f"Requests/sec: {sum(answered) / seconds:.2f}\n")


def _ask(url: str, deadline: float, answered: list[int]) -> None:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
    count = 0
    while time.monotonic() < deadline:
        connection.request("GET", where.path)
        response = connection.getresponse()
        response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"{url} answered {response.status}")
        count += 1
    answered.append(count)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
