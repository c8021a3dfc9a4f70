"""Each mistake in a configuration gets one line, at its place."""

from pathlib import Path

import pytest

from scheduler_daemon.config import load
from scheduler_daemon.errors import ConfigurationError

JOB = """\
scheduler:
  jobs:
    - name: nightly
      extension: core
      job: database_cleanup
      schedule: "0 0 4 * * *"
      enabled: true
"""


def problems(tmp_path: Path, text: str | bytes, **environ: str) -> list[str]:
    """Every problem as "line:column: message"."""
    file = tmp_path / "config.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ=environ)
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


YAML = [
    ("a:\n\tb: 1\n", "2:1: a tab cannot indent YAML: use spaces"),
    ("timezone: UTC\n\tworkers: {}\n", "2:1: a tab cannot indent YAML: use spaces"),
    ("timezone: */15 *\n", "1:11: a text that starts with * must be in quotes"),
    ("timezone: @daily\n", "1:11: a text that starts with @ must be in quotes"),
    (
        "timezone: *zone\n",
        "1:11: the alias *zone is not defined above (a text that starts with * must be in quotes)",
    ),
    ('timezone: "UTC\n', "1:11: this quotation mark is never closed"),
    ("control: {group: x\n", "1:10: this { is never closed"),
    ("control: {group: ${x}}\n", "1:19: { in the middle of a text: put the text in quotes"),
    ("a: b: c\n", '1:5: not valid YAML: a second ":" here; put a text that contains ": " in quotes'),
    (
        "workers:\n  min: 1\n max: 2\n",
        "3:2: not valid YAML: did not find expected key "
        "(while parsing a block mapping from line 1; look at indentation and quotes)",
    ),
    ("timezone: UTC\n---\ntimezone: UTC\n", "2:1: a second document starts here: a file holds one"),
    (b"timezone: UTC\nstate_dir: \xff\n", "2:12: not UTF-8 text"),
    (b"timezone: U\x07TC\n", "1:12: a control character does not belong into YAML"),
    ("timezone: UTC\ntimezone: UTC\n", '2:1: "timezone" is given twice in one mapping, first in line 1'),
    ("extensions: {web: {404: x}}\n", '1:20: keys are strings: write "404"'),
    ("extensions: {web: {on: x}}\n", '1:20: keys are strings: write "on"'),
    ("extensions: {web: {[a]: x}}\n", "1:20: keys are strings: this one is not text"),
    ("extensions: {web: !secret x}\n", '1:19: the tag "!secret" is not supported here'),
    ("- timezone\n", "1:1: a configuration file is a mapping: `key: value` lines"),
    ("just words\n", "1:1: a configuration file is a mapping: `key: value` lines"),
    (
        "extensions: {web: {mode: 0644}}\n",
        "1:26: 0644 starts with 0, which YAML reads as octal: drop the 0, or quote it",
    ),
    (
        "extensions: {web: {at: 8:00}}\n",
        '1:24: YAML reads 8:00 as a number to base 60: quote it ("8:00")',
    ),
    ("extensions: {web: {x: .nan}}\n", '1:23: ".nan" is not a finite number'),
    (
        "extensions: {web: {x: 99999999999999999999}}\n",
        '1:23: "99999999999999999999" is beyond 64 bits: quote it if it is a name',
    ),
    ('extensions: {web: {x: "a\\0b"}}\n', "1:23: a NUL character cannot be kept"),
    (
        "a: &a [*a]\n",
        "1:8: the alias *a contains itself (a text that starts with * must be in quotes)",
    ),
]


@pytest.mark.parametrize(("text", "line"), YAML)
def test_unreadable_yaml_is_named_with_its_place(tmp_path: Path, text: str | bytes, line: str) -> None:
    assert line in problems(tmp_path, text)


VALUES = [
    ("statedir: x", '1:1: unknown key "statedir" (did you mean "state_dir"?)'),
    ("jobs: []", '1:1: unknown key "jobs" (it belongs into scheduler)'),
    ("zzz: 1", '1:1: unknown key "zzz"'),
    ("workers: {mx: 3}", '1:11: unknown key "mx" in workers (did you mean "max"?)'),
    ("workers: 3", "1:10: workers must be a mapping, not the number 3"),
    ("workers: {min: true}", "1:16: workers.min must be a whole number, not the boolean true"),
    ("workers: {max: 0}", "1:16: workers.max must be at least 1"),
    ("workers: {max: 9999}", "1:16: workers.max must be at most 1000"),
    ("workers: {min: 3, max: 2}", "1:10: workers: min (3) is larger than max (2)"),
    (
        "timezone: Europe/Berln",
        '1:11: timezone: "Europe/Berln" is not an IANA time zone (did you mean "Europe/Berlin"?)',
    ),
    (
        "timezone: berlin",
        '1:11: timezone: "berlin" is not an IANA time zone (did you mean "Europe/Berlin"?)',
    ),
    (
        "timezone: new york",
        '1:11: timezone: "new york" is not an IANA time zone (did you mean "America/New_York"?)',
    ),
    (
        "timezone: on",
        '1:11: timezone must be the name of a time zone such as "Europe/Berlin", '
        'not the boolean on ("on" in quotes is text)',
    ),
    ("shutdown_grace: 30", '1:17: shutdown_grace: 30 has no unit: write "30s", "30m" or the like'),
    (
        'shutdown_grace: "30"',
        '1:18: shutdown_grace: "30" is not a duration: it needs a unit, such as "30s" or "30m"',
    ),
    ("shutdown_grace: 5 min", '1:17: shutdown_grace: "5 min" is not a duration (did you mean "5m"?)'),
    (
        "shutdown_grace: 30m1h",
        '1:17: shutdown_grace: "30m1h" is not a duration: write "90s", "10m", "1h30m", "24h" or "90d"',
    ),
    ("shutdown_grace: 99999d", '1:17: shutdown_grace: "99999d" is longer than ten years'),
    ("startup_timeout: 0s", '1:18: startup_timeout: must be at least "1s"'),
    ("startup_timeout:", '1:17: startup_timeout must be a duration such as "10m", not nothing'),
    ("state_dir: ~/var", '1:12: state_dir: "~" is not expanded here: write the whole path'),
    ("state_dir: ~", "1:12: state_dir must be a path, not nothing"),
    ('state_dir: ""', "1:12: state_dir: a path cannot be empty"),
    ("control: {group: 5}", '1:18: control.group must be a name, not the number 5 ("5" in quotes is text)'),
    ("control: {readers: staff}", '1:20: control.readers must be a list, not the text "staff"'),
    (
        "database: {url: mysql://x}",
        '1:17: database.url: the URL of a database starts with "postgresql://"',
    ),
    ("database: {url: }", '1:17: database.url must be a URL such as "postgresql://host/name", not nothing'),
    ("extensions: {web: 5}", "1:19: extensions.web must be a mapping, not the number 5"),
    ("metrics: {port: 1}", '1:11: unknown key "port" in metrics'),
    (
        "metrics: {listen: 9464}",
        '1:19: metrics.listen must be an address such as "127.0.0.1:9464", not the number 9464 '
        '("9464" in quotes is text)',
    ),
    (
        'metrics: {listen: "localhost"}',
        '1:20: metrics.listen: "localhost" is no address: write "127.0.0.1:9464", or "[::1]:9464"',
    ),
    (
        "heartbeat: {url: example.org}",
        '1:18: heartbeat.url: must be a URL that starts with "https://" or "http://"',
    ),
    (
        "notifications: {quiet_hours: 22-7}",
        '1:30: notifications.quiet_hours: "22-7" are no hours: write "22:00-07:00"',
    ),
    (
        "notifications: {events: [faled]}",
        '1:26: notifications.events[0]: "faled" is not one of failed, recovered, late, missed, empty, '
        'hanging, degraded, database, disk (did you mean "failed"?)',
    ),
    (
        "notifications: {discord: https://discord.example/api/webhooks/1/abc}",
        "1:26: notifications.discord holds a secret in plain text: "
        "put ${env:NAME} or ${credential:NAME} there",
    ),
    (
        "extensions: {web: {reports: {where: https://discord.com/api/webhooks/1/abc}}}",
        "1:37: this is a Discord webhook in plain text: put ${env:NAME} or ${credential:NAME} there",
    ),
    ("scheduler: {enabled: maybe}", '1:22: scheduler.enabled must be true or false, not the text "maybe"'),
    (
        "scheduler: {defaults: {schedule: x}}",
        '1:24: unknown key "schedule" in scheduler.defaults (it belongs into scheduler.jobs[])',
    ),
    ("scheduler: {defaults: {timeout: 1y}}", None),
    (
        "jobplane: {python: nowhere/python}",
        "1:20: jobplane.python: there is no program that could be started",
    ),
]


@pytest.mark.parametrize(("text", "line"), VALUES)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, text: str, line: str | None) -> None:
    found = problems(tmp_path, text + "\n")
    assert len(found) == 1
    assert line is None or found == [line]


ENTRIES = [
    ("enabled: true", 'enabled: "yes"', '7:16: enabled must be true or false, not the text "yes"'),
    ("      enabled: true\n", "", '3:7: "enabled" is missing in scheduler.jobs[0]'),
    ("schedule:", "shedule:", '6:7: unknown key "shedule" in scheduler.jobs[0] (did you mean "schedule"?)'),
    (
        "0 0 4 * * *",
        "0 4 * * *",
        '6:18: schedule: "0 4 * * *" has five fields; schedules start with seconds: '
        'did you mean "0 0 4 * * *"?',
    ),
    (
        "job: database_cleanup",
        "job: no",
        '5:12: job must be a name, not the boolean no ("no" in quotes is text)',
    ),
    ("name: nightly", "name: 7", '3:13: name must be a name, not the number 7 ("7" in quotes is text)'),
    (
        "name: nightly",
        "name: a/b",
        '3:13: name: "a/b" is not a name: letters, digits, _ . - (at most 100, the first no sign)',
    ),
    (
        "enabled: true",
        "enabled: true\n      overlap: skpi",
        '8:16: overlap: "skpi" is not one of skip, queue, allow, cancel_previous (did you mean "skip"?)',
    ),
    (
        "enabled: true",
        "enabled: true\n      dst: {gapp: after}",
        '8:13: unknown key "gapp" in dst (did you mean "gap"?)',
    ),
    (
        "enabled: true",
        "enabled: true\n      memory_limit: 256MB",
        '8:21: memory_limit: "256MB" is not a size (did you mean "256M"?)',
    ),
    ("enabled: true", "enabled: true\n      memory_limit: 5K", '8:21: memory_limit: must be at least "1M"'),
    ("enabled: true", "enabled: true\n      retries: -1", "8:16: retries must be at least 0"),
    (
        "enabled: true",
        "enabled: true\n      tags: [a, 1]",
        '8:17: tags[1] must be a name, not the number 1 ("1" in quotes is text)',
    ),
    (
        "enabled: true",
        "enabled: true\n      parameters: [a]",
        "8:19: parameters must be a mapping, not a list",
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), ENTRIES)
def test_a_wrong_job_entry_is_named_with_its_place(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in JOB
    assert problems(tmp_path, JOB.replace(old, new)) == [line]


def test_a_wrong_field_is_pointed_at_inside_the_schedule(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, JOB.replace('"0 0 4 * * *"', "  '0 0 25 * * *'"))
    assert line.startswith("6:24: schedule: ")


def test_a_schedule_with_escapes_is_pointed_at_as_a_whole(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, JOB.replace('"0 0 4 * * *"', '"0\\x200 25 * * *"'))
    assert line.startswith("6:17: schedule: ")


def test_a_name_taken_twice_names_both_places(tmp_path: Path) -> None:
    entry = JOB.partition("jobs:\n")[2]
    (line,) = problems(tmp_path, JOB + entry)
    assert line == f'8:13: the job name "nightly" is taken: also in {tmp_path}/config.yaml:3:13'


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "timezone: Nowhere\nworkers: {min: 5, mix: 1}\n" + JOB.replace("0 0 4", "0 0 99").replace(
        "enabled: true", "enabled: 1"
    )
    places = [line.split(": ")[0] for line in problems(tmp_path, text)]
    assert places == ["1:11", "2:19", "8:22", "9:16"]


def test_a_mistake_in_the_defaults_is_told_once(tmp_path: Path) -> None:
    entry = JOB.partition("jobs:\n")[2]
    text = JOB.replace("  jobs:", "  defaults: {timeout: soon}\n  jobs:") + entry.replace("nightly", "weekly")
    (line,) = problems(tmp_path, text)
    assert line.startswith('2:23: timeout: "soon" is not a duration')


def test_a_value_wrong_for_yaml_is_not_wrong_a_second_time(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "workers: {min: 010}\n")) == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:secret@db/app",
        "postgres://app:s?cret@db/app",
        "postgresql://db/app?user=app&password=secret",
        "postgresql://db/app?pass%77ord=secret",
        "postgresql://app:x${env:PASSWORD}@db/app",
    ],
)
def test_a_password_in_plain_text_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    (line,) = problems(tmp_path, f"database: {{url: '{url}'}}\n", PASSWORD="hush")
    assert line == (
        "1:17: database.url holds a password in plain text: put ${env:NAME} or ${credential:NAME} there"
    )


def test_a_socket_path_that_no_kernel_takes_says_which_key_to_set(tmp_path: Path) -> None:
    long = "/" + "d" * 120
    (line,) = problems(tmp_path, f"state_dir: {long}\n")
    assert line == (
        f"1:12: the control socket would be {long}/run/control.sock: 138 bytes, and the path of a socket "
        "has at most 107; set control.socket to a shorter path"
    )
    (line,) = problems(tmp_path, f"control:\n  socket: {long}\n")
    assert line == "2:11: control.socket is too long: 121 bytes, and the path of a socket has at most 107"


def test_a_group_that_cannot_reach_the_socket_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"state_dir: {tmp_path}/st\ncontrol: {{group: root, readers: [root]}}\n")
    inside = load(file)
    found = [str(one) for one in inside.warnings if "cannot reach" in one.message]
    assert len(found) == 2
    assert f"control.group: others cannot reach {tmp_path}/st/run/control.sock" in found[0]
    file.write_text(f"state_dir: {tmp_path}/st\ncontrol: {{group: root, socket: {tmp_path}/c}}\n")
    outside = load(file)
    assert not [one for one in outside.warnings if "cannot reach" in one.message]


def test_a_billion_laughs_are_refused(tmp_path: Path) -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    found = problems(tmp_path, "\n".join(lines))
    assert found == ["6:25: more than 500,000 values, aliases counted out in full"]


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{a: " * 60, "- " * 5_000 + "x"])
def test_nesting_without_end_is_refused(tmp_path: Path, text: str) -> None:
    assert any("nested more than 50 deep" in line for line in problems(tmp_path, text))


def test_aliases_cannot_nest_deeper_than_the_bound(tmp_path: Path) -> None:
    lines = ["a: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    assert any("nested more than 50 deep" in line for line in problems(tmp_path, "\n".join(lines)))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(
        ConfigurationError, match=r"no such file or directory \(did you mean \"config.yaml\"\?\)"
    ):
        load(tmp_path / "confg.yaml", environ={})
    with pytest.raises(ConfigurationError, match="is a folder: name a file in it"):
        load(tmp_path, environ={})
    with pytest.raises(ConfigurationError, match="is not a regular file"):
        load(Path("/dev/null"), environ={})
    with pytest.raises(ConfigurationError, match="not a possible file name"):
        load(Path("a\0b"), environ={})


def test_a_file_below_the_working_directory_is_shown_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("x: 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^config/config.yaml:1:1: unknown key"):
        load(Path("config/config.yaml"), environ={})
