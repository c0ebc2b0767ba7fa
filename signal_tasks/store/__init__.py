"""What the bridge keeps in a database: an outbox, an inbox and dead letters."""

from .database import is_in_memory
from .dead_letters import StoredDeadLetters, StoredLetter
from .inbox import Inbox
from .outbox import Outbox
from .store import Store
from .tables import metadata

__all__ = [
    "Inbox",
    "Outbox",
    "Store",
    "StoredDeadLetters",
    "StoredLetter",
    "is_in_memory",
    "metadata",
]
