"""What no single key can tell: the same name twice, a password in plain text, nothing to do."""

from __future__ import annotations

import re
from urllib.parse import unquote

from scheduler_daemon.config.references import stand_ins
from scheduler_daemon.config.report import Report, quoted, shown
from scheduler_daemon.config.tree import Node, Place

_WEBHOOK = re.compile(r"/api(/v\d+)?/webhooks/\d+/[\w-]")


def check(root: Node, report: Report) -> None:
    _unique_names(root, report)
    _no_password(root, report)
    _no_webhook_token(root, report)
    jobs = root.find("scheduler", "jobs")
    if jobs is None or not jobs.items:
        report.warning(root.place, "no jobs are configured: the daemon would only wait")
    enabled = root.find("scheduler", "enabled")
    if enabled and enabled.value is False:
        report.warning(enabled.place, "the scheduler is disabled: no job runs by itself")


def _unique_names(root: Node, report: Report) -> None:
    jobs = root.find("scheduler", "jobs")
    taken: dict[str, Place] = {}
    for job in jobs.items if jobs else ():
        name = job.child("name")
        if name is None or not isinstance(name.value, str):
            continue
        first = taken.setdefault(name.value, name.place)
        if first != name.place:
            also = f"{shown(first.file)}:{first.line}:{first.column}"
            report.error(name.place, f"the job name {quoted(name.value)} is taken: also in {also}")


def _no_password(root: Node, report: Report) -> None:
    url = root.find("database", "url")
    if url and isinstance(url.value, str) and _literal_password(stand_ins(url.text, "")):
        report.error(
            url.place,
            "database.url holds a password in plain text: put ${env:NAME} or ${credential:NAME} there",
        )


def _no_webhook_token(root: Node, report: Report) -> None:
    """Whoever knows the URL of a Discord webhook can post there."""
    url = root.find("notifications", "discord")
    if url and isinstance(url.value, str) and "/webhooks/" in stand_ins(url.text, ""):
        report.error(
            url.place,
            "notifications.discord holds a secret in plain text: put ${env:NAME} or ${credential:NAME} there",
        )
    sections = root.find("extensions")
    for node in sections.walk() if sections else ():
        if isinstance(node.value, str) and _WEBHOOK.search(stand_ins(node.text, "")):
            report.error(
                node.place,
                "this is a Discord webhook in plain text: put ${env:NAME} or ${credential:NAME} there",
            )


def _literal_password(url: str) -> bool:
    """By libpq's reading of a URL: user:password@ before the first slash, or a parameter."""
    rest = url.partition("://")[2]
    credentials, at, _ = rest.partition("/")[0].partition("@")
    if at and credentials.partition(":")[2]:
        return True
    pairs = (pair.partition("=") for pair in rest.partition("?")[2].split("&"))
    return any(unquote(key) in ("password", "sslpassword") and value for key, _, value in pairs)
