"""Notifications, heartbeats, health and metrics of a real daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from typing import Any

import psycopg
from prometheus_client.parser import text_string_to_metric_families

SECRET = "s3cr3t-of-the-environment"


def told(hook: Any, start: str) -> list[str]:
    return [line for line in hook.lines() if line.startswith(start)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[tuple[str, str], float]:
    """(name, labels' values) → value."""
    return {
        (one.name.removeprefix("scheduler_daemon_"), ",".join(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_a_failure_is_told_and_the_recovery_and_no_secret(service: Any, hook: Any) -> None:
    service.environment["HOOK_TOKEN"] = SECRET
    service.start(
        notifications={"webhook": f"{hook.url}/hook", "group_for": "0s"},
        extensions={"service": {"token": "${env:HOOK_TOKEN}"}},
    )
    service.run(order=f"refused with {SECRET}")
    service.until(lambda: told(hook, "obeys: failed: RuntimeError: refused with ***"))
    service.run(order="3")
    service.until(lambda: told(hook, "obeys: is well again"))

    run = service.client.get("/v1/runs", job="obeys", status="failed")["runs"][0]
    whole = json.dumps(service.client.get(f"/v1/runs/{run['id']}"))
    logs = json.dumps(service.client.get("/v1/logs", limit=1000))
    with psycopg.connect(service.url) as connection:
        rows = connection.execute("SELECT r::text FROM scheduler.runs r").fetchall()
        rows += connection.execute("SELECT l::text FROM scheduler.logs l").fetchall()
        revisions = str(connection.execute("SELECT * FROM scheduler.config_revisions").fetchall())
    for place in (service.log, whole, logs, str(rows), revisions, str(hook.got)):
        assert SECRET not in place
        assert "open sesame" not in place
    assert "ordered" in logs


def test_each_channel_can_be_tried(service: Any, hook: Any) -> None:
    service.start()
    refused = service.program("systemprompt", "infra", "notify", "test")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no channel is configured" in refused.stderr
    service.stop()

    service.start(notifications={"webhook": f"{hook.url}/hook", "discord": "http://127.0.0.1:9/x"})
    tried = service.program("systemprompt", "infra", "notify", "test")
    assert tried.returncode == 1
    assert tried.stdout == "discord: cannot be reached: Connection refused\nwebhook: sent\n"
    assert hook.lines() == ["a test of notifications: all is well"]
    actions = service.client.get("/v1/actions")["actions"]
    assert "test notifications" in [one["action"] for one in actions]


def test_a_database_that_is_away_is_told_while_it_is_away(service: Any, hook: Any) -> None:
    port = free_port()
    service.start(
        notifications={"webhook": f"{hook.url}/hook", "group_for": "0s", "database_away_after": "1s"},
        health={"database_away_after": "1s"},
        metrics={"listen": f"127.0.0.1:{port}"},
        heartbeat={"url": f"{hook.url}/daemon", "every": "1s"},
    )
    assert fetch(port, "/healthz") == (200, '{"healthy": true, "reasons": []}')
    service.until(lambda: hook.pings("daemon")[-1:] == [""])
    service.take_database_away()
    service.until(lambda: told(hook, "the database is away since"))
    status, body = fetch(port, "/healthz")
    assert status == 503
    assert "database away since" in json.loads(body)["reasons"][0]
    assert samples(fetch(port, "/metrics")[1])["database_up", ""] == 0
    service.until(lambda: "/fail" in hook.pings("daemon"))

    service.give_database_back()
    service.until(lambda: told(hook, "over after"))
    service.until(lambda: fetch(port, "/healthz")[0] == 200)
    service.until(lambda: hook.pings("daemon")[-1:] == [""])


def test_a_run_that_ends_while_the_database_is_away_is_told_as_well(service: Any, hook: Any) -> None:
    service.start(
        notifications={"webhook": f"{hook.url}/hook", "group_for": "0s"},
        heartbeat={"job_urls": {"waits": f"{hook.url}/waits"}},
    )
    run = service.client.post("/v1/jobs/waits/runs")["id"]
    service.until((service.orders / "waiting").exists)
    service.take_database_away()
    service.until(lambda: service.client.get("/v1/status")["database_away_since"])
    pid = next(w["pid"] for w in service.client.get("/v1/status")["workers"] if w["run"] == run)
    os.kill(pid, signal.SIGKILL)
    service.until(lambda: told(hook, "waits: lost: its worker was killed by SIGKILL"))
    service.until(lambda: hook.pings("waits") == ["/start", "/fail"])
    service.give_database_back()
    service.until(lambda: service.client.get("/v1/status")["database_away_since"] is None)


def test_what_an_earlier_daemon_lost_is_told_by_the_next(service: Any, hook: Any) -> None:
    service.start(notifications={"webhook": f"{hook.url}/hook", "group_for": "0s"})
    service.client.post("/v1/jobs/waits/runs")
    service.until((service.orders / "waiting").exists)
    service.until(lambda: service.client.get("/v1/runs", status="running")["runs"][0]["started_at"])
    service.stop(signal.SIGKILL)
    service.start()
    service.until(lambda: told(hook, "waits: lost: its daemon died or was killed"))


def test_an_extension_that_does_not_load_and_a_reload_that_mends_it(service: Any, hook: Any) -> None:
    module = service.folder / "site" / "service_jobs.py"
    good = module.read_text()
    module.write_text("import nothing_of_that_name\n")
    service.start(notifications={"webhook": f"{hook.url}/hook", "group_for": "0s"})
    service.until(lambda: told(hook, "extension service: unavailable: "))
    assert not told(hook, "obeys: unavailable")
    module.write_text(good)
    service.client.post("/v1/reload")
    service.until(lambda: told(hook, "extension service: over after"))


def test_metrics_count_what_became_of_runs(service: Any) -> None:
    port = free_port()
    jobs = service.config["scheduler"]["jobs"]
    off = {**jobs[0], "name": "off", "schedule": "* * * * * *", "enabled": False}
    quick = {**jobs[0], "name": "quick", "schedule": "* * * * * *"}
    service.start(metrics={"listen": f"127.0.0.1:{port}"}, scheduler={"jobs": [*jobs, off, quick]})
    for order in ("1", "2", "broken"):
        service.run(order=order)
    service.order("1")
    service.until(lambda: samples(fetch(port, "/metrics")[1])["runs_total", "quick,succeeded"] > 2)
    found = samples(fetch(port, "/metrics")[1])
    assert found["runs_total", "obeys,succeeded"] == 2
    assert found["runs_total", "obeys,failed"] == 1
    assert found["run_duration_seconds_count", "obeys"] == 3
    assert found["run_lateness_seconds_count", "obeys"] == 0
    assert found["run_lateness_seconds_count", "quick"] > 2
    assert found["run_lateness_seconds_bucket", "quick,+Inf"] == found["run_lateness_seconds_count", "quick"]
    assert found["runs_total", "off,skipped"] > 2
    assert (found["job_enabled", "off"], found["job_enabled", "quick"]) == (0, 1)
    assert found["job_degraded", "obeys"] == 1
    assert found["workers", "busy"] + found["workers", "idle"] >= 1
    assert found["engine_turn_age_seconds", ""] < 30
    over_the_socket = service.client  # the same, where no TCP is wanted
    assert over_the_socket.get("/healthz")["healthy"]

    service.config["scheduler"]["jobs"] = jobs
    (service.folder / "config.yaml").write_text(json.dumps(service.config))
    service.client.post("/v1/reload")
    assert ("runs_total", "quick,succeeded") not in samples(fetch(port, "/metrics")[1])


def test_the_port_for_metrics_serves_nothing_else(service: Any) -> None:
    port = free_port()
    service.start(metrics={"listen": f"127.0.0.1:{port}"})
    assert fetch(port, "/v1/status")[0] == 404
    for request, status in (
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n" + b"x: " + b"y" * 20_000 + b"\r\n\r\n", b"400"),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", b"200"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(request)
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 " + status), request
    taken = service.folder / "second.yaml"
    second = {**service.config, "state_dir": str(service.folder / "second"), "database": {"url": service.url}}
    taken.write_text(json.dumps(second))
    refused = service.program("scheduler-daemon", "run", "--config", str(taken))
    assert refused.returncode == 78
    assert f"metrics.listen: 127.0.0.1:{port} cannot be had: " in refused.stderr


def test_a_degraded_job_fails_the_check_where_that_is_wanted(service: Any) -> None:
    port = free_port()
    service.start(metrics={"listen": f"127.0.0.1:{port}"}, health={"degraded_jobs": True})
    service.run(order="broken")
    status, body = fetch(port, "/healthz")
    assert status == 503
    assert json.loads(body)["reasons"] == ['job "obeys": last run failed: RuntimeError: broken']
    service.run(order="1")
    assert fetch(port, "/healthz")[0] == 200
