"""An application at work on the tables that are cleaned does not wait for the jobs; nothing deadlocks."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from scheduler_core import extension
from scheduler_core.seed import Plan, fill

from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets

USERS = 5_000
# The bar is 100 ms; benchmarks/cleanup.py holds the jobs to it while a million rows go. Here, on a machine
# that may be busy with anything, a wait counts that is far longer than a batch, and far shorter than a job.
LOGGING = """
deadlock_timeout = 1s
log_lock_waits = on
"""
TRAFFIC = f"""
\\set n random(0, {USERS - 1})
UPDATE users SET updated_at = now() WHERE id = 'u-1-' || :n;
UPDATE user_sessions SET request_count = request_count + 1 WHERE session_id = 's-1-' || :n;
UPDATE user_contexts SET updated_at = now() WHERE context_id = 'c-1-' || :n;
UPDATE logs SET module = 'web' WHERE id = 'l-1-' || :n;
INSERT INTO user_contexts (context_id, user_id)
    SELECT gen_random_uuid()::text, id FROM (SELECT id FROM users WHERE id = 'u-1-' || :n FOR KEY SHARE) u;
INSERT INTO agent_tasks (task_id, context_id)
    SELECT gen_random_uuid()::text, context_id
    FROM (SELECT context_id FROM user_contexts WHERE context_id = 'c-1-' || :n FOR KEY SHARE) c;
"""


@pytest.fixture
def server() -> Iterator[TemporaryServer]:
    """One that logs every long wait for a lock."""
    made = TemporaryServer()
    (made.cluster.folder / "local.conf").write_text(LOGGING)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def filled(server: TemporaryServer) -> str:
    """The URL of a database with generated data."""
    assert extension.migrations is not None
    url = server.make_database(*scheduler_sets(extension.migrations, scheduler=False))
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, Plan(users=USERS, logs=USERS, now=datetime.now(UTC)))
        connection.execute("VACUUM (ANALYZE)")
    return url


def test_no_wait_for_a_lock_and_no_deadlock(
    server: TemporaryServer, filled: str, run_job: Any, tmp_path: Path
) -> None:
    script = tmp_path / "traffic.sql"
    script.write_text(TRAFFIC)
    application = subprocess.Popen(
        [server.cluster.binaries.program("pgbench"), "-n", "-c", "3", "-T", "600", "-f", script, filled],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        ran = [
            run_job(extension, job.name, {"batch_size": 200}, database_url=filled)
            for job in (*extension.jobs, *extension.jobs)
        ]
    finally:
        application.send_signal(signal.SIGALRM)  # how pgbench's own -T ends it
        said, _ = application.communicate(timeout=60)

    assert [outcome.error for outcome in ran] == [None] * 10
    assert sum(outcome.items_processed or 0 for outcome in ran) > USERS
    assert application.returncode == 0, said
    assert "number of failed transactions: 0 " in said
    complaints = [line for line in server.cluster.log.read_text().splitlines() if "still waiting" in line]
    assert complaints == []
    assert "deadlock detected" not in server.cluster.log.read_text()
    with psycopg.connect(filled) as connection:
        orphans = connection.execute(
            "SELECT count(*) FROM agent_tasks t LEFT JOIN user_contexts c USING (context_id)"
            " WHERE c.context_id IS NULL"
        ).fetchone()
    assert orphans == (0,)
