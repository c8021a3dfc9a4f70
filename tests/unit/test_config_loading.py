"""What a valid configuration becomes."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from scheduler_daemon.config import document, load, planned
from scheduler_daemon.config.report import Report
from scheduler_daemon.model import (
    DstGap,
    DstOverlap,
    DstPolicy,
    JobSpec,
    Misfire,
    OnLost,
    Overlap,
)

PROJECT = Path(__file__).parents[2]
SPECIFIED = PROJECT / "tests" / "data" / "spec-scheduler.yaml"

ENTRY = {
    "name": "nightly",
    "extension": "core",
    "job": "database_cleanup",
    "schedule": "0 0 4 * * *",
    "enabled": True,
}


def write(file: Path, **content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def test_the_shipped_configuration_is_valid_and_names_only_jobs_that_exist() -> None:
    loaded = load(PROJECT / "config" / "config.yaml", environ={})
    assert loaded.warnings == ()
    assert loaded.settings.base_dir == PROJECT
    assert loaded.settings.state_dir == PROJECT / "var"
    bound = {(job.extension, job.job) for job in loaded.settings.jobs}
    ours = {("core", "cleanup_inactive_sessions"), ("web", "publish_pipeline"), ("example", "example_hello")}
    assert bound >= ours
    assert "web" in loaded.settings.extensions


def test_the_specifications_example_loads_as_printed() -> None:
    settings = load(SPECIFIED, environ={}).settings
    assert [job.name for job in settings.jobs] == [
        "cleanup_anonymous_users",
        "cleanup_empty_contexts",
        "cleanup_inactive_sessions",
        "database_cleanup",
        "publish_pipeline",
        "content_analytics_aggregation",
        "daily_traffic_report",
        "daily_activity_summary",
    ]
    assert settings.job("daily_traffic_report") == JobSpec(
        name="daily_traffic_report",
        extension="web",
        job="daily_traffic_report",
        schedule="0 0 7,19 * * *",
    )


def test_an_empty_file_is_valid_and_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("# nothing yet\n")
    loaded = load(file, environ={})
    assert loaded.settings.jobs == ()
    assert [str(w) for w in loaded.warnings] == [
        f"{file}:1:1: warning: no jobs are configured: the daemon would only wait"
    ]


def test_a_disabled_scheduler_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("scheduler:\n  enabled: off\n  jobs: []\n")
    assert "2:12: warning: the scheduler is disabled" in str(load(file, environ={}).warnings[-1])


def test_keys_whose_content_is_commented_out_are_as_good_as_absent(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    keys = ("includes", "database", "control", "workers", "extensions", "history", "metrics", "scheduler")
    file.write_text("".join(f"{key}:\n" for key in keys))
    assert load(file, environ={}).settings.workers.max == 8


def test_every_key_of_a_job_arrives(tmp_path: Path) -> None:
    entry = ENTRY | {
        "enabled": False,
        "timezone": "Europe/Berlin",
        "dst": {"gap": "skip", "overlap": "both"},
        "overlap": "cancel_previous",
        "concurrency": "web-output",
        "misfire": "all",
        "misfire_window": "1h30m",
        "timeout": "90s",
        "kill_after": "0s",
        "retries": 3,
        "retry_delay": "2m",
        "on_lost": "rerun",
        "memory_limit": "256M",
        "nodes": "every",
        "tags": ["night", "db"],
        "parameters": {"days": 30, "tables": ["logs"], "since": None},
    }
    file = write(tmp_path / "config.yaml", scheduler={"jobs": [entry]})
    (job,) = load(file, environ={}).settings.jobs
    assert job == JobSpec(
        name="nightly",
        extension="core",
        job="database_cleanup",
        schedule="0 0 4 * * *",
        enabled=False,
        timezone="Europe/Berlin",
        dst=DstPolicy(gap=DstGap.SKIP, overlap=DstOverlap.BOTH),
        overlap=Overlap.CANCEL_PREVIOUS,
        concurrency="web-output",
        misfire=Misfire.ALL,
        misfire_window=timedelta(minutes=90),
        timeout=timedelta(seconds=90),
        kill_after=timedelta(0),
        retries=3,
        retry_delay=timedelta(minutes=2),
        on_lost=OnLost.RERUN,
        memory_limit=256 * 1024**2,
        nodes="every",
        tags=("night", "db"),
        parameters={"days": 30, "tables": ["logs"], "since": None},
    )


def test_every_key_of_the_root_arrives(tmp_path: Path) -> None:
    file = write(
        tmp_path / "config.yaml",
        state_dir="state",
        timezone="America/New_York",
        database={"url": "postgresql://app@db/app"},
        control={"socket": "/run/x.sock", "group": "ops", "readers": ["staff"]},
        workers={"min": 0, "max": 2, "recycle_after": 10},
        jobplane={"python": "/bin/sh", "import_timeout": "2s"},
        extensions={"web": {"title": "A site"}},
        shutdown_grace="1m",
        startup_timeout="2m",
        history={"keep": "2w", "max_per_job": 5},
        logs={"keep": "1d"},
        scheduler={"enabled": False, "jobs": [ENTRY]},
    )
    settings = load(file, environ={}).settings
    assert settings.file == file
    assert settings.base_dir == tmp_path
    assert settings.state_dir == tmp_path / "state"
    assert settings.database_url == "postgresql://app@db/app"
    assert (settings.control.socket, settings.control.group) == (Path("/run/x.sock"), "ops")
    assert settings.control.readers == ("staff",)
    assert (settings.workers.min, settings.workers.max, settings.workers.recycle_after) == (0, 2, 10)
    assert settings.jobplane_python == Path("/bin/sh")
    assert settings.import_timeout == timedelta(seconds=2)
    assert settings.extensions == {"web": {"title": "A site"}}
    assert (settings.shutdown_grace, settings.startup_timeout) == (timedelta(minutes=1), timedelta(minutes=2))
    assert (settings.history.keep, settings.history.max_per_job) == (timedelta(days=14), 5)
    assert settings.history.keep_logs == timedelta(days=1)
    assert settings.scheduler_enabled is False
    assert settings.jobs[0].timezone == "America/New_York"


def test_defaults_fill_what_a_job_leaves_out(tmp_path: Path) -> None:
    defaults = {
        "timeout": "10m",
        "timezone": "Asia/Tokyo",
        "tags": ["all"],
        "dst": {"gap": "skip"},
        "parameters": {"a": 1, "b": 1},
    }
    own = {
        "name": "own",
        "timeout": None,
        "tags": ["mine"],
        "dst": {"overlap": "both"},
        "parameters": {"b": 2},
    }
    file = write(tmp_path / "config.yaml", scheduler={"defaults": defaults, "jobs": [ENTRY, ENTRY | own]})
    first, second = load(file, environ={}).settings.jobs
    assert (first.timeout, first.timezone, first.tags) == (timedelta(minutes=10), "Asia/Tokyo", ("all",))
    assert first.parameters == {"a": 1, "b": 1}
    assert (second.timeout, second.tags) == (None, ("mine",))
    assert second.dst == DstPolicy(gap=DstGap.SKIP, overlap=DstOverlap.BOTH)
    assert second.parameters == {"a": 1, "b": 2}


def test_yaml_1_1_booleans_and_merge_keys_mean_what_they_mean(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        """
scheduler:
  jobs:
    - &first {name: a, extension: core, job: x, schedule: "@daily", enabled: yes}
    - <<: *first
      name: b
      enabled: off
extensions:
  web: {date: 2026-01-02, at: 08:00, n: 1_000, hex: 0x10, text: !!str 12, nothing: ~}
"""
    )
    settings = load(file, environ={}).settings
    assert [(job.name, job.schedule, job.enabled) for job in settings.jobs] == [
        ("a", "@daily", True),
        ("b", "@daily", False),
    ]
    assert settings.extensions["web"] == {
        "date": "2026-01-02",
        "at": "08:00",
        "n": 1000,
        "hex": 16,
        "text": "12",
        "nothing": None,
    }


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xef\xbb\xbftimezone: UTC\r\nworkers:\r\n  max: 3\r\n")
    assert load(file, environ={}).settings.workers.max == 3


@pytest.mark.parametrize(
    ("file", "base"),
    [
        ("config.yaml", "."),
        ("config/config.yaml", "."),
        ("services/scheduler/config.yaml", "."),
        ("services/other/config.yaml", "services/other"),
        ("scheduler/config.yaml", "scheduler"),
    ],
)
def test_relative_paths_start_from_the_folder_that_holds_the_configuration(
    tmp_path: Path, file: str, base: str
) -> None:
    settings = load(write(tmp_path / file), environ={}).settings
    assert settings.base_dir == tmp_path / base
    assert settings.state_dir == tmp_path / base / "var"
    assert settings.control.socket == tmp_path / base / "var" / "run" / "control.sock"


def test_under_systemd_its_folders_are_the_defaults(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/s:/var/lib/t", "RUNTIME_DIRECTORY": "/run/s"}
    file = write(tmp_path / "config.yaml")
    settings = load(file, environ=environ).settings
    assert settings.state_dir == Path("/var/lib/s")
    assert settings.control.socket == Path("/run/s/control.sock")
    write(file, state_dir="/srv/s", control={"socket": "c.sock"})
    settings = load(file, environ=environ).settings
    assert settings.state_dir == Path("/srv/s")
    assert settings.control.socket == tmp_path / "c.sock"


def test_positions_say_where_an_entry_and_its_schedule_stand() -> None:
    settings = load(SPECIFIED, environ={}).settings
    job = settings.job("cleanup_empty_contexts")
    assert job is not None
    assert job.position.endswith("spec-scheduler.yaml:11:7")
    assert job.schedule_position.endswith("spec-scheduler.yaml:14:17")


def test_where_a_job_stands_does_not_make_it_another(tmp_path: Path) -> None:
    file = write(tmp_path / "config.yaml", scheduler={"jobs": [ENTRY]})
    before = load(file, environ={}).settings.jobs
    file.write_text("\n\n" + file.read_text())
    assert load(file, environ={}).settings.jobs == before


def test_the_revision_follows_the_meaning_and_not_the_spelling(tmp_path: Path) -> None:
    one = tmp_path / "one.yaml"
    one.write_text("timezone: UTC # a comment\nworkers: {max: 3, min: 1}\n")
    other = tmp_path / "other.yaml"
    other.write_text("workers:\n  min: 1\n  max: 3\ntimezone: 'UTC'\n")
    changed = tmp_path / "changed.yaml"
    changed.write_text("workers: {max: 4, min: 1}\ntimezone: UTC\n")
    settings = load(one, environ={}).settings
    assert settings.revision == load(other, environ={}).settings.revision
    assert settings.revision != load(changed, environ={}).settings.revision
    assert settings.revision == hashlib.sha256(settings.revision_text.encode()).hexdigest()
    assert set(json.loads(settings.revision_text)) == {"configuration", "tzdata"}


def test_a_stored_revision_tells_its_plan_without_any_secret(tmp_path: Path) -> None:
    secret = ENTRY | {"parameters": {"token": "${env:TOKEN}"}}
    file = write(
        tmp_path / "config.yaml",
        timezone="Europe/Paris",
        database={"url": "${env:URL}"},
        scheduler={"defaults": {"misfire": "skip"}, "jobs": [secret]},
    )
    settings = load(file, environ={"TOKEN": "hush", "URL": "postgresql://a:b@c/d"}).settings
    assert "hush" not in settings.revision_text
    plan = planned(settings.revision_text)
    assert plan.enabled is True
    assert plan.tzdata == json.loads(settings.revision_text)["tzdata"]
    (job,) = plan.jobs
    assert (job.name, job.timezone, job.misfire) == ("nightly", "Europe/Paris", Misfire.SKIP)
    assert job.parameters == {"token": "${env:TOKEN}"}
    assert settings.jobs[0].parameters == {"token": "hush"}


def test_the_python_parser_reads_the_same_where_the_c_one_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tree() -> object:
        return document.parse(SPECIFIED, SPECIFIED.read_text(), Report())

    fast = tree()
    monkeypatch.setattr(document, "_Loader", yaml.SafeLoader)
    assert tree() == fast
