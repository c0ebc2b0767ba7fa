"""The way out to the broker: envelopes become messages, within a time, over lines of our own."""
