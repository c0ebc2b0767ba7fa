"""What a developer runs on one machine: a broker, a worker and the web server together.

Nothing here is needed in production. The extra ``signal-tasks[dev]`` installs what the
rooms of this package use.
"""
