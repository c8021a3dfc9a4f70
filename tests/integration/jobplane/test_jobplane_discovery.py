"""Extensions that are wrong, hang or kill at import; packages that come and go."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import Any

import pytest

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.model import Catalogue, JobSpec, SectionProblem

GOOD = """
@extension.job(name="{name}_job", schedule="0 0 * * * *", description="Works")
def work(ctx): return JobResult.success().with_message("{name}")
"""


def good(name: str) -> str:
    return GOOD.replace("{name}", name)


def spec(name: str, extension: str, job: str, **parameters: Any) -> JobSpec:
    return JobSpec(name=name, extension=extension, job=job, schedule="0 0 * * * *", parameters=parameters)


def errors(catalogue: Catalogue) -> dict[str, str | None]:
    return {e.name: e.error for e in catalogue.extensions}


async def test_the_catalogue_tells_what_packages_register(packages: Any, make_plane: Any) -> None:
    packages.add(
        "demo",
        '''
        class Section(BaseModel):
            room: str

        class Wanted(BaseModel):
            times: int = 3

        extension = Extension("demo", config_model=Section, migrations=Path("/srv/sql"))

        @extension.submit_job
        class Nightly(Job):
            def name(self): return "nightly"
            description = property(lambda self: "Runs at night")
            schedule = "0 0 3 * * *"
            run_on_startup = True
            concurrency = "tape"
            parameters = Wanted
            def execute(self, ctx): pass

        @extension.job(name="plain", schedule="@hourly")
        def plain(ctx):
            """From the docstring.

            And more."""
        ''',
    )
    plane = make_plane()
    catalogue = await plane.start(plane.request)

    (demo,) = catalogue.extensions
    assert (demo.name, demo.distribution, demo.version, demo.error) == ("demo", "pkg-demo", "1.0", None)
    assert demo.migrations == "/srv/sql"
    assert demo.config_schema is not None
    assert demo.config_schema["required"] == ["room"]
    nightly, plain = demo.jobs
    assert (nightly.name, nightly.description, nightly.schedule) == (
        "nightly",
        "Runs at night",
        "0 0 3 * * *",
    )
    assert nightly.run_on_startup
    assert (nightly.concurrency, plain.concurrency) == ("tape", "")
    assert nightly.parameters_schema is not None
    assert nightly.parameters_schema["properties"]["times"]["default"] == 3
    assert (plain.description, plain.parameters_schema) == ("From the docstring.", None)
    assert catalogue.find("demo", "plain") == plain
    assert catalogue.problems == ()


async def test_faulty_extensions_are_named_with_their_cause_and_the_rest_works(
    packages: Any, make_plane: Any
) -> None:
    packages.add("good", good("good"))
    packages.add("raises", "import no_such_module")
    packages.add("exits", "sys.exit(3)")
    packages.add("forks", "os.fork() or None\n" + good("forks"))
    packages.add("other", 'extension = "not one"')
    packages.add("renamed", 'extension = Extension("another")')
    packages.add("twice", good("twice") + good("twice") + good("also"))
    packages.add("zz-clash", good("good") + good("zz"))
    packages.add("several", good("several") + good("several") + good("good"))
    packages.add("typo", "def (")
    packages.add("nameless", "extension.jobs.append(Job())\n" + good("nameless"))
    packages.add("idle", "class Idle(Job): name = 'idle'\nextension.submit_job(Idle)")
    packages.add("cron", good("cron").replace("0 0 * * * *", "0 * * * *") + good("right"))
    packages.add("taken", good("first"), distribution="a-first", entry="taken")
    packages.add("taken", good("second"), distribution="b-second", entry="taken")
    packages.distribution("garbled", "[scheduler_daemon.extensions]\nno equals sign\n")
    packages.distribution("irrelevant", "[others]\nno equals sign\n")
    plane = make_plane()
    catalogue = await plane.start(plane.request)

    said = errors(catalogue)
    assert said["garbled"] == (
        "garbled[garbled]: cannot be imported: ValueError: its entry_points.txt cannot be read"
    )
    assert said["good"] is None
    assert re.fullmatch(
        r"pkg-raises\[raises\]: cannot be imported: /\S+/pkg_raises\.py:\d+: "
        "ModuleNotFoundError: No module named 'no_such_module'",
        said["raises"] or "",
    )
    assert re.fullmatch(
        r"pkg-exits\[exits\]: cannot be imported: /\S+/pkg_exits\.py:\d+: SystemExit: 3", said["exits"] or ""
    )
    assert re.fullmatch(
        r"pkg-typo\[typo\]: cannot be imported: /\S+/pkg_typo\.py:\d+: SyntaxError: invalid syntax",
        said["typo"] or "",
    )
    assert said["several"] == (
        'pkg-several[several]: registers two jobs named "several_job"; neither can run; '
        'its job "good_job" is already registered by pkg-good[good]'
    )
    assert said["forks"] is None
    assert said["other"] == "pkg-other[other]: is a str, not a scheduler_daemon.extension.Extension"
    assert said["renamed"] == (
        'pkg-renamed[renamed]: its Extension is named "another"; entry point and extension must agree'
    )
    assert said["twice"] == 'pkg-twice[twice]: registers two jobs named "twice_job"; neither can run'
    assert said["zz-clash"] == (
        'pkg-zz-clash[zz-clash]: its job "good_job" is already registered by pkg-good[good]'
    )
    assert (
        said["nameless"]
        == "pkg-nameless[nameless]: job Job: ValueError: its name '' must be a word without spaces"
    )
    assert said["idle"] == 'pkg-idle[idle]: job idle: TypeError: "idle" has no execute()'
    assert said["cron"] is not None
    assert said["cron"].startswith(
        'pkg-cron[cron]: job cron_job: ValueError: the default schedule "0 * * * *"'
    )
    assert 'did you mean "0 0 * * * *"' in said["cron"]
    assert said["taken"] is None
    assert said["b-second[taken]"] == 'b-second[taken]: the name "taken" is already taken by a-first[taken]'
    usable = {job.name for extension in catalogue.extensions for job in extension.jobs}
    assert usable == {"good_job", "also_job", "zz_job", "nameless_job", "right_job", "first_job", "forks_job"}
    raises = next(e for e in catalogue.extensions if e.name == "raises")
    assert raises.traceback is not None
    assert "import no_such_module" in raises.traceback
    assert "discovery.py" not in raises.traceback


async def test_an_extension_that_the_configuration_uses_keeps_its_job_s_name(
    packages: Any, make_plane: Any
) -> None:
    packages.add("aaa", good("same"))
    packages.add("zzz", good("same"))
    plane = make_plane(jobs=(spec("same", "zzz", "same_job"),))
    catalogue = await plane.start(plane.request)

    assert errors(catalogue)["zzz"] is None
    assert catalogue.find("aaa", "same_job") is None


@pytest.mark.parametrize(
    ("source", "cause", "where"),
    [
        ("time.sleep(3600)", "did not end within 1 s", "File"),
        ("while True: pass", "did not end within 1 s", "File"),
        ("os._exit(7)", "ended the process: it exited with code 7", None),
        ("ctypes.string_at(0)", "ended the process: it died of SIGSEGV", "Segmentation fault"),
        ("os.kill(os.getpid(), 9)", "ended the process: it died of SIGKILL", None),
    ],
)
async def test_an_import_that_hangs_or_kills_costs_only_its_own_extension(
    packages: Any, make_plane: Any, source: str, cause: str, where: str | None
) -> None:
    packages.add("bad", source)
    packages.add("good", good("good"))
    plane = make_plane(import_timeout_s=1.0)
    catalogue = await plane.start(plane.request)

    said = errors(catalogue)
    assert said["good"] is None
    hung = r", at /\S+/pkg_bad\.py:\d+" if "within" in cause else ""
    assert re.fullmatch(re.escape(f"pkg-bad[bad]: its import {cause}") + hung, said["bad"] or "")
    trace = next(e.traceback for e in catalogue.extensions if e.name == "bad")
    if where:
        assert trace is not None
        assert "pkg_bad.py" in trace
        assert ("Timeout" if "within" in cause else where) in trace
    worker = await plane.worker()
    assert (await worker.result("good_job", extension="good"))["message"] == "good"


async def test_an_extension_that_leaves_threads_runs_in_processes_of_its_own(
    packages: Any, make_plane: Any, gone: Any
) -> None:
    packages.add(
        "threaded",
        """
        class Wanted(BaseModel):
            times: int

        extension = Extension("threaded", config_model=Wanted, resources={"assets": Path("/threaded")})
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()

        @extension.job(name="counts", schedule="0 0 * * * *", parameters=Wanted)
        def counts(ctx):
            found = ctx.resources("assets")
            text = f"{threading.active_count()} {[name for name, _ in found]} {ctx.config.times}"
            return JobResult.success().with_message(text)
        """,
    )
    packages.add(
        "good",
        """
        extension = Extension("good", resources={"assets": Path("/good")})

        @extension.job(name="lists", schedule="0 0 * * * *")
        def lists(ctx): return JobResult.success().with_message(str([n for n, _ in ctx.resources("assets")]))
        """,
    )
    jobs = (spec("nightly", "threaded", "counts", times="x"), spec("lists", "good", "lists"))
    plane = make_plane(sections={"threaded": {"times": 4}}, jobs=jobs)
    catalogue = await plane.start(plane.request)

    threaded = next(e for e in catalogue.extensions if e.name == "threaded")
    assert (threaded.leaves_threads, threaded.error, len(threaded.jobs)) == (True, None, 1)
    assert [problem.where[2] for problem in catalogue.problems] == ["nightly"]
    alone = await plane.worker(isolate="threaded")
    outcome = await alone.result("counts", extension="threaded", parameters={"times": 1})
    assert outcome["message"] == "3 ['good', 'threaded'] 4"
    assert not alone.all("leaving")
    assert alone.link.isolate == "threaded"
    os.kill(plane._current.pid, signal.SIGKILL)
    assert await alone.exit() == -signal.SIGKILL
    await gone(alone.link.pid)
    shared = await plane.worker()
    assert (await shared.result("lists", extension="good"))["message"] == "['good', 'threaded']"


async def test_sections_and_parameters_are_checked_by_the_extension_s_models(
    packages: Any, make_plane: Any
) -> None:
    packages.add(
        "demo",
        """
        class Inner(BaseModel, extra="forbid"):
            urls: list[str]

        class Section(BaseModel):
            inner: Inner
            mode: int | str = 1

        class Wanted(BaseModel):
            times: int

        extension = Extension("demo", config_model=Section)

        @extension.job(name="work", schedule="0 0 * * * *", parameters=Wanted)
        def work(ctx): pass
        """,
    )
    packages.add(
        "strict",
        """
        class Section(BaseModel):
            needed: int
        extension = Extension("strict", config_model=Section)
        """,
    )
    plane = make_plane(
        sections={"demo": {"inner": {"urls": ["a", 7], "typo": 1}, "mode": [1]}, "absent": {"any": 1}},
        jobs=(
            spec("one", "demo", "work", times=1),
            spec("two", "demo", "work"),
            spec("three", "absent", "work", times=1),
            spec("four", "demo", "absent", times=1),
        ),
    )
    catalogue = await plane.start(plane.request)

    section = ("extensions", "demo")
    parameters = ("scheduler", "jobs", "two", "parameters")
    found = {(p.where, p.path): p.message for p in catalogue.problems}
    assert found[section, ("inner", "urls", 1)] == "input should be a valid string"
    assert found[section, ("inner", "typo")] == "extra inputs are not permitted"
    assert found[section, ("mode",)]
    assert found[parameters, ("times",)] == "field required"
    assert {where for where, _ in found} == {section, parameters}
    assert all(isinstance(p, SectionProblem) for p in catalogue.problems)


async def test_a_reload_sees_new_changed_and_removed_packages_while_old_workers_finish(
    packages: Any, make_plane: Any, gone: Any
) -> None:
    packages.add("one", good("one"))
    packages.add(
        "old",
        """
        @extension.job(name="waits", schedule="0 0 * * * *")
        def waits(ctx):
            while not ctx.cancelled: time.sleep(0.001)
        """,
    )
    plane = make_plane()
    await plane.start(plane.request)
    before = await plane.worker()
    before.run("waits", extension="old")
    await before.message("started")
    packages.add("one", good("changed"))
    packages.add("two", good("two"))
    packages.distribution("pkg-old", "")

    catalogue = await plane.reload(plane.request)

    assert {j.name for e in catalogue.extensions for j in e.jobs} == {"changed_job", "two_job"}
    after = await plane.worker()
    assert after.link.generation == before.link.generation + 1
    assert (await after.result("changed_job", extension="one"))["message"] == "changed"
    before.link.send([{"t": "cancel", "id": "r1", "reason": "shutdown"}])
    assert (await before.outcome())["status"] == "cancelled"
    before.link.send([{"t": "stop"}])
    assert await before.exit() == 0
    async with asyncio.timeout(10):
        while len(plane._generations) > 1:
            await asyncio.sleep(0.01)


async def test_a_reload_that_fails_keeps_what_there_was(
    packages: Any, make_plane: Any, tmp_path: Any
) -> None:
    packages.add("demo", good("demo"))
    plane = make_plane()
    await plane.start(plane.request)
    plane._python = tmp_path / "no-python"

    with pytest.raises(JobPlaneError, match="no-python cannot be started: No such file"):
        await plane.reload(plane.request)

    worker = await plane.worker()
    assert (await worker.result("demo_job"))["message"] == "demo"


async def test_an_interpreter_without_the_daemon_s_package_is_said(make_plane: Any, tmp_path: Any) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho No module named scheduler_daemon >&2\nexit 1\n")
    script.chmod(0o755)
    plane = make_plane()
    plane._python = script

    with pytest.raises(JobPlaneError, match=r"exited with code 1 .*: No module named scheduler_daemon"):
        await plane.start(plane.request)


async def test_what_an_import_prints_is_logged_with_its_extension(packages: Any, make_plane: Any) -> None:
    packages.add("loud", "print('hello from import', flush=True)")
    plane = make_plane()
    await plane.start(plane.request)

    async with asyncio.timeout(10):
        while "hello from import" not in plane.log.text():
            await asyncio.sleep(0.01)
