"""The configuration against the catalogue and the calendar."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from scheduler_daemon.config import (
    Loaded,
    bindings,
    doubts,
    faulty_extensions,
    load,
    plain_secrets,
    section_problems,
    unavailable_jobs,
    unused_sections,
)
from scheduler_daemon.model import Catalogue, ExtensionInfo, JobInfo, SectionProblem

TEXT = """\
scheduler:
  defaults:
    parameters: {site: main}
  jobs:
    - name: publish
      extension: web
      job: publish_pipeline
      schedule: "0 */15 * * * *"
      enabled: true
      parameters:
        days: yes
    - name: never
      extension: wbe
      job: publish_pipeline
      schedule: "0 0 0 31 2 *"
      enabled: true
    - name: typo
      extension: web
      job: publish_pipline
      schedule: "@daily"
      enabled: true
    - name: elsewhere
      extension: web
      job: cleanup
      schedule: "@daily"
      enabled: true
    - name: broken
      extension: broken
      job: anything
      schedule: "@daily"
      enabled: true
extensions:
  web:
    lang: no
    content_sources:
      blog:
        path: 5
        title: "${env:TITLE}"
  wbe: {}
"""

CATALOGUE = Catalogue(
    extensions=(
        ExtensionInfo(name="web", jobs=(JobInfo(extension="web", name="publish_pipeline"),)),
        ExtensionInfo(name="core", jobs=(JobInfo(extension="core", name="cleanup"),)),
        ExtensionInfo(name="broken", error="ImportError: no module\nnamed 'x'"),
    )
)


def loaded(tmp_path: Path) -> Loaded:
    file = tmp_path / "config.yaml"
    file.write_text(TEXT)
    return load(file, environ={"TITLE": "hush"})


def test_a_job_is_available_or_says_why_not(tmp_path: Path) -> None:
    bound = {one.job.name: one for one in bindings(loaded(tmp_path).settings, CATALOGUE)}
    assert bound["publish"].available
    assert bound["publish"].info == CATALOGUE.find("web", "publish_pipeline")
    assert {name: one.reason for name, one in bound.items() if not one.available} == {
        "never": 'the extension "wbe" is not installed (did you mean "web"?)',
        "typo": 'the extension "web" has no job "publish_pipline" (did you mean "publish_pipeline"?)',
        "elsewhere": 'the extension "web" has no job "cleanup" (the extension "core" has one)',
        "broken": "the extension \"broken\" is faulty: ImportError: no module named 'x'",
    }


def test_an_unavailable_job_is_a_warning_at_the_value_that_leads_nowhere(tmp_path: Path) -> None:
    found = unavailable_jobs(loaded(tmp_path), CATALOGUE)
    assert [(one.line, one.column, one.severity) for one in found] == [
        (13, 18, "warning"),
        (19, 12, "warning"),
        (24, 12, "warning"),
        (28, 18, "warning"),
    ]
    assert found[0].message == (
        'job "never" is unavailable: the extension "wbe" is not installed (did you mean "web"?)'
    )


def test_jobs_share_the_key_of_their_code_unless_the_configuration_names_one(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    (web, *others) = CATALOGUE.extensions
    info = replace(web.jobs[0], concurrency="web-output")
    catalogue = replace(CATALOGUE, extensions=(replace(web, jobs=(info,)), *others))
    spec = found.settings.jobs[0]
    own = replace(found.settings, jobs=(replace(spec, concurrency="mine"),))
    assert bindings(found.settings, catalogue)[0].job.concurrency_key == "web-output"
    assert bindings(own, catalogue)[0].job.concurrency_key == "mine"
    assert bindings(found.settings, CATALOGUE)[0].job.concurrency_key == spec.name


def test_a_faulty_extension_that_no_job_suffers_from_is_a_warning_too(tmp_path: Path) -> None:
    idle = ExtensionInfo(name="idle", error="idle[idle]: cannot be imported: KeyError")
    catalogue = replace(CATALOGUE, extensions=(*CATALOGUE.extensions, idle))
    found = faulty_extensions(loaded(tmp_path), catalogue)
    assert [(one.message, one.severity) for one in found] == [
        ('the extension "idle" is faulty: idle[idle]: cannot be imported: KeyError', "warning")
    ]


def test_what_an_extension_finds_wrong_is_shown_at_its_place(tmp_path: Path) -> None:
    blog = ("content_sources", "blog")
    found = section_problems(
        loaded(tmp_path),
        [
            SectionProblem(
                where=("extensions", "web"), path=(*blog, "path"), message="should be a valid string"
            ),
            SectionProblem(where=("extensions", "web"), path=(*blog, "source_id"), message="is missing"),
            SectionProblem(where=("extensions", "web"), path=("lang",), message="should be a valid string"),
            SectionProblem(where=("extensions", "web"), path=(*blog, "title"), message='"hush" is no title'),
            SectionProblem(
                where=("scheduler", "jobs", "publish", "parameters"),
                path=("days",),
                message="should be a number",
            ),
            SectionProblem(
                where=("scheduler", "jobs", "publish", "parameters"), path=("site",), message="is not known"
            ),
            SectionProblem(
                where=("scheduler", "jobs", "never", "parameters"), path=("x", 3, "y"), message="is missing"
            ),
        ],
    )
    assert [str(one).removeprefix(f"{tmp_path}/") for one in found] == [
        "config.yaml:37:15: extensions.web.content_sources.blog.path: should be a valid string "
        '(YAML reads 5 as a number: write "5")',
        "config.yaml:36:7: extensions.web.content_sources.blog.source_id: is missing",
        "config.yaml:34:11: extensions.web.lang: should be a valid string "
        '(YAML reads no as a boolean: write "no")',
        'config.yaml:38:16: extensions.web.content_sources.blog.title: "${env:TITLE}" is no title',
        "config.yaml:11:15: parameters.days: should be a number",
        "config.yaml:3:24: parameters.site: is not known",
        "config.yaml:3:5: parameters.x.3.y: is missing",
    ]


def test_every_value_can_be_located(tmp_path: Path) -> None:
    file, line, column = loaded(tmp_path).locate(("scheduler", "jobs", "typo", "job"))
    assert (file.name, line, column) == ("config.yaml", 19, 12)
    assert loaded(tmp_path).locate(("scheduler", "jobs", 0, "name")).line == 5
    assert loaded(tmp_path).locate(("nowhere",)).line == 1


def test_a_section_that_nothing_reads_is_a_warning(tmp_path: Path) -> None:
    (warning,) = unused_sections(loaded(tmp_path), CATALOGUE)
    assert str(warning) == (
        f"{tmp_path}/config.yaml:39:3: warning: nothing reads this section: "
        'no extension "wbe" is installed (did you mean "web"?)'
    )


def test_a_doubtful_schedule_is_a_warning_at_the_schedule(tmp_path: Path) -> None:
    found = doubts(loaded(tmp_path).settings, datetime(2026, 1, 1, tzinfo=UTC))
    never = [one for one in found if one.line == 15]
    assert len(never) == 1
    assert never[0].severity == "warning"
    assert never[0].message.startswith("never: ")
    assert never[0].column == 17


SECRETIVE = {
    "$defs": {
        "Channel": {
            "properties": {"token": {"anyOf": [{"type": "string", "writeOnly": True}, {"type": "null"}]}}
        }
    },
    "properties": {
        "channels": {"additionalProperties": {"$ref": "#/$defs/Channel"}},
        "keys": {"items": {"type": "string", "writeOnly": True}},
        "name": {"type": "string"},
    },
}
PLAIN = """\
scheduler:
  jobs:
    - name: publish
      extension: web
      job: publish_pipeline
      schedule: "@daily"
      enabled: true
      parameters: {token: hush, day: 5}
extensions:
  web:
    name: plain
    channels:
      one: {token: hush}
      two: {token: "${env:TITLE}"}
      three: {token: "Bearer ${env:TITLE}"}
      four: {token: }
      five: {token: ""}
    keys: ["${env:TITLE}", 123456]
"""


def test_a_secret_in_plain_text_is_an_error_wherever_a_model_wants_one(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(PLAIN)
    parameters = {"properties": {"token": {"type": "string", "writeOnly": True}, "day": {"type": "integer"}}}
    job = JobInfo(extension="web", name="publish_pipeline", parameters_schema=parameters)
    web = ExtensionInfo(name="web", jobs=(job,), config_schema=SECRETIVE)
    found = plain_secrets(load(file, environ={"TITLE": "hush"}), Catalogue(extensions=(web,)))
    told = "holds a secret in plain text: put ${env:NAME} or ${credential:NAME} there"
    assert [str(one).removeprefix(f"{tmp_path}/") for one in found] == [
        f"config.yaml:13:20: extensions.web.channels.one.token {told}",
        f"config.yaml:18:28: extensions.web.keys.1 {told}",
        f"config.yaml:8:27: parameters.token {told}",
    ]
