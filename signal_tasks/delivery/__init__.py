"""When and how safely envelopes get to the publisher: what each delivery puts in between."""
