"""The timer wheel: the only room that knows APScheduler.

It wakes when a timetable has an instant and says which jobs are due. It never calls a job, keeps no
history, and returns no instant of the past: what was missed is found from the watermarks.
"""

from scheduler_daemon.engine.timer import Engine
from scheduler_daemon.engine.watch import ClockWatch

__all__ = ["ClockWatch", "Engine"]
