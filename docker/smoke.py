"""Ask the compose stack to prove itself: register a user, wait for the welcome letter.

Run it on the host, beside ``docker compose up``: ``python3 docker/smoke.py``. It goes
in by the published port and needs nothing but Python. The user is registered by the
web container; the letter is written by the worker's, and listed on the records page.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

SITE = f"http://127.0.0.1:{os.environ.get('WEB_PORT', '8000')}"
PATIENCE_SECONDS = 30

visitor = build_opener(HTTPCookieProcessor(CookieJar()))


def main() -> int:
    """Return 0 if a letter came, 1 if not."""
    before = letters()
    email = register()
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_SECONDS:
        for letter in letters() - before:
            waited = time.monotonic() - started
            print(f"{email} registered; {letter} was there {waited:.1f} s later")
            return 0
        time.sleep(0.2)
    print(
        f"smoke: {email} registered, and no letter came in {PATIENCE_SECONDS} s: "
        "look at `docker compose logs worker`",
        file=sys.stderr,
    )
    return 1


def register() -> str:
    """Register somebody new through the form, and return their address."""
    token = re.search(r'name="csrf" value="([^"]+)"', fetch("/register"))
    if token is None:
        raise SystemExit(f"smoke: {SITE}/register shows no form of the demo")
    email = f"smoke.{secrets.token_hex(4)}@example.org"
    form = {
        "csrf": token[1],
        "name": "Smoke",
        "email": email,
        "password": secrets.token_urlsafe(12),
    }
    if email not in fetch("/register", form):
        raise SystemExit(f"smoke: {SITE} did not let {email} register")
    return email


def letters() -> set[str]:
    """Return the names of the letters that the worker has written."""
    return set(re.findall(r"welcome-\d+\.eml", fetch("/records")))


def fetch(path: str, form: dict[str, str] | None = None) -> str:
    """Get a page, or post *form* to it, and return the page that one ends on."""
    body = urlencode(form).encode() if form else None
    with visitor.open(SITE + path, body, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


if __name__ == "__main__":
    sys.exit(main())
