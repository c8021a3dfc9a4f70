"""Six fields → instants. See `CronExpression`.

bits       what the sets' bits mean           fields     text → sets          canonical, describe   sets → text
walk       sets → local times                 timeline   a zone's offsets     dst                   local times → instants
"""

from scheduler_daemon.cron.expression import CronExpression, Swallowed
from scheduler_daemon.cron.lint import lint
from scheduler_daemon.errors import CronError

__all__ = ["CronError", "CronExpression", "Swallowed", "lint"]
