"""What the bridge keeps in a database: so far, dead letters."""

from .database import Store, is_in_memory
from .dead_letters import StoredDeadLetters, StoredLetter
from .tables import metadata

__all__ = ["Store", "StoredDeadLetters", "StoredLetter", "is_in_memory", "metadata"]
