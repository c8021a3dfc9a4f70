"""`systemprompt`: the tree of commands."""

from __future__ import annotations

import click

from scheduler_daemon.cli.command import Lazy

ROOM = "scheduler_daemon.cli"

jobs = Lazy(
    "jobs",
    help="Look at jobs, run them, switch them on and off.",
    lazy={
        "list": (f"{ROOM}.jobs:list_jobs", "All jobs: schedule, state, last run, next fire."),
        "show": (f"{ROOM}.jobs:show", "One job in full."),
        "run": (f"{ROOM}.running:run", "Run jobs now, and watch them."),
        "history": (f"{ROOM}.jobs:history", "What ran, what did not, and how it ended."),
        "enable": (f"{ROOM}.switches:enable", "Enable a job, over what the file says."),
        "disable": (f"{ROOM}.switches:disable", "Disable a job, over what the file says."),
        "rewind": (f"{ROOM}.switches:rewind", "Let a job fire that a wrong clock holds up."),
        "cancel": (f"{ROOM}.running:cancel", "End a run that waits or is under way."),
        "next": (f"{ROOM}.jobs:next_fires", "When a job fires next."),
        "why": (f"{ROOM}.answers:why", "Why a job ran, or did not."),
        "timeline": (f"{ROOM}.answers:timeline", "A chart: what was, what comes, what meets."),
        "audit": (f"{ROOM}.answers:audit", "Is every planned instant accounted for?"),
        "cleanup-sessions": (f"{ROOM}.shortcuts:cleanup_sessions", "Run the session cleanup."),
        "log-cleanup": (f"{ROOM}.shortcuts:log_cleanup", "Run the log cleanup."),
    },
)
logs = Lazy(
    "logs",
    help="Read what jobs and the daemon logged.",
    lazy={
        "view": (f"{ROOM}.logs:view", "The newest lines."),
        "follow": (f"{ROOM}.logs:follow", "New lines as they come."),
        "search": (f"{ROOM}.logs:search", "Lines whose message holds a text."),
        "export": (f"{ROOM}.logs:export", "Lines as JSON lines, JSON or CSV."),
    },
)
scheduler = Lazy(
    "scheduler",
    help="The scheduler as a whole: state, configuration, who did what.",
    lazy={
        "status": (f"{ROOM}.scheduler:status", "Is all well?"),
        "check": (f"{ROOM}.scheduler:check", "Everything wrong or doubtful in the configuration."),
        "reload": (f"{ROOM}.scheduler:reload", "Put the configuration in force as it is written now."),
        "revisions": (f"{ROOM}.scheduler:revisions", "Which configuration was in force when."),
        "actions": (f"{ROOM}.scheduler:actions", "Who did what through the socket."),
    },
)
notify = Lazy(
    "notify",
    help="Who is told when something goes wrong.",
    lazy={"test": (f"{ROOM}.notify:test", "Send a test message to every channel.")},
)
site = Lazy(
    "site",
    help="The published site.",
    lazy={"preview": (f"{ROOM}.site:preview", "Look at it in a browser, on this machine only.")},
)


infra = Lazy(
    "infra",
    help="Operate the scheduler: jobs, logs, the scheduler itself.",
    commands={"jobs": jobs, "logs": logs, "scheduler": scheduler, "site": site, "notify": notify},
)


@click.group(
    cls=Lazy,
    lazy={"completion": (f"{ROOM}.completion:script", "Print the completion script of a shell.")},
    commands={"infra": infra, "site": site},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="scheduler-daemon")
@click.option("--socket", metavar="PATH", help="The daemon's control socket.")
def main(socket: str | None) -> None:
    """Operate a scheduler-daemon through its socket.

    \b
    Examples:
      systemprompt infra jobs list
      systemprompt infra jobs run publish_pipeline
      systemprompt infra logs view --level error --since 1h
    """
