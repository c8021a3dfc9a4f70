"""Six fields → instants. Start at `expression`.

bits        what the bits of every set mean
fields      one field's text → bits; `parsing` the whole expression's, `advice` what an error recommends
walk        bits → local times: the calendar
timeline    a zone → stretches of constant offset
dst         local times + timeline + policy → instants: the daylight-saving rule
canonical, describe, lint    bits → the text that equality goes by, English, warnings
"""

from scheduler_daemon.cron.expression import AtTransition, CronExpression
from scheduler_daemon.cron.lint import lint
from scheduler_daemon.errors import CronError

__all__ = ["AtTransition", "CronError", "CronExpression", "lint"]
