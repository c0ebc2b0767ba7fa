"""What tells this run of the tests from others on the same servers."""

from __future__ import annotations

import os
import secrets
from typing import Final

RUN: Final = os.environ.setdefault("SHOP_RUN", secrets.token_hex(4))
"""Part of the names of queues and databases; workers inherit it."""

REPORTS_QUEUE: Final = f"signal-tasks-{RUN}.reports"
"""Where reports are written, beside the everyday work."""
