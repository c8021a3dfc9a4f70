"""HTTP over the Unix socket: the daemon's side (`server`) and the CLI's (`client`).

Nothing is imported here: the CLI must not pay for the server.
"""
