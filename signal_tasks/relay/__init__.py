"""The way from an outbox to the broker: rows that are due become messages."""
