"""What the bridge keeps in a database: so far, dead letters."""

from .database import Store
from .dead_letters import StoredDeadLetters, StoredLetter
from .tables import metadata

__all__ = ["Store", "StoredDeadLetters", "StoredLetter", "metadata"]
