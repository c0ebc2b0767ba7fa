"""What a send costs, beside everything else that queues: run by ``make bench``."""
