"""scheduler-daemon: runs an application's background jobs, and accounts for every planned instant."""

__version__ = "0.1.0"
