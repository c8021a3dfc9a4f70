"""Click commands: read the arguments, ask the daemon, print.

Exit codes: 0 done, 1 the job or the request failed, 2 usage, 3 no daemon.
"""
