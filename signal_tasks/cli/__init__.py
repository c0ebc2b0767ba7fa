"""The commands: flask signal-tasks."""
