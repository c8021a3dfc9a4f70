"""A ledger that wakes up on another database: it is perhaps a copy, and a copy must do nothing."""

from __future__ import annotations

from .conftest import YEARLY, Stage, job

JOBS = (job("quick"), job("gate", "*/2 * * * * *", overlap="queue"), job("boot", YEARLY))


def test_a_copy_runs_nothing_until_it_is_accepted_and_the_gap_is_one_row(stage: Stage) -> None:
    stage.open("shut")
    original = stage.daemon().start(*JOBS)
    stage.until(lambda: len(stage.notes("quick")) > 2)
    original.stop()
    url = stage.copy()
    before, boots = stage.rows("job = 'quick'", url), len(stage.notes("boot"))
    ran = len(stage.notes("quick"))
    copy = stage.daemon().start(*JOBS, url=url)
    assert "restored or copied" in str(copy.client.get("/v1/status")["degraded"])
    again = copy.program("systemprompt", "infra", "jobs", "audit")
    assert again.returncode == 0, again.stdout
    # A reload, too, settles what an older configuration had planned.
    copy.configure(job("quick", "*/2 * * * * *"), *JOBS[1:], url=url)
    copy.client.post("/v1/reload")
    assert len(stage.notes("quick")) == ran
    assert len(stage.notes("boot")) == boots
    done = copy.program("scheduler-daemon", "accept", "--config", "config.yaml")
    assert done.returncode == 0, done.stderr
    stage.until(lambda: len(stage.notes("quick")) > ran + 1)
    copy.stop()
    (gap,) = stage.rows("job = 'quick' AND reason = 'restored'", url)
    assert (gap["status"], gap["planned"], gap["kind"]) == ("missed", True, "cron")
    inside = "job = 'quick' AND scheduled_for > %(start)s AND scheduled_for <= %(end)s"
    rows = stage.rows(inside, url, start=before[-1]["last_for"], end=gap["last_for"])
    assert [row["id"] for row in rows] == [gap["id"]]
