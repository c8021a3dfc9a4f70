"""Tells others how the daemon and its jobs do: messages, and pings whose absence tells.

Fed in memory, so that it works while the database is away; what could not be sent is kept on disk.
"""
