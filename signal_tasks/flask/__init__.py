"""Flask's side: the extension, apps as hosts, and what of a request travels."""
