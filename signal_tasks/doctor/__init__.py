"""What `flask signal-tasks doctor` looks at: broker, workers, store and settings.

Each module here has one subject. Its checks are given what they look at, and yield
findings; none of them changes anything.
"""
