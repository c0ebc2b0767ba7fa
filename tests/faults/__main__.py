"""The whole matrix: ``python -m tests.faults``, which ``make faults`` runs."""

from __future__ import annotations

import sys

from tests.faults.matrix import main

sys.exit(main())
