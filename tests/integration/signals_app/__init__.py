"""An app with a page of every kind, whose handlers look at all of Flask's signals.

Importing the package makes no app, for tests read from it what they visit.
"""
