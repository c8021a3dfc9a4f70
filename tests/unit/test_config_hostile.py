"""Whatever the bytes: a configuration, or a ConfigurationError with places."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_daemon.config import document, load, planned, units
from scheduler_daemon.config.schema import Job, Root, Scheduler
from scheduler_daemon.errors import ConfigurationError, Problem

SPECIFIED = (Path(__file__).parents[1] / "data" / "spec-scheduler.yaml").read_bytes()
KEYS = st.sampled_from(
    [*Root.model_fields, *Scheduler.model_fields, *Job.model_fields, "includes", "url", "socket", "<<", "x"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["UTC", "10m", "0 0 * * * *", "${env:A}", "config.yaml", "postgresql://u:p@h/d", "on"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
YAMLISH = st.text(alphabet=" \n\t:-*&!|>{}[],'\"#?%@`~<=$0aα\x85\u2028\ufeff\r", max_size=200)
hostile = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


def survive(folder: Path, content: bytes) -> None:
    file = folder / "config.yaml"
    file.write_bytes(content)
    problems: tuple[Problem, ...] = ()
    try:
        loaded = load(file, environ={"A": "secret"})
    except ConfigurationError as error:
        problems = error.problems
    else:
        json.loads(loaded.settings.revision_text, parse_constant=pytest.fail)
        loaded.settings.revision_text.encode()
        assert len(planned(loaded.settings.revision_text).jobs) == len(loaded.settings.jobs)
        return
    assert problems
    assert all(p.line >= 1 and p.column >= 1 and p.message.isprintable() for p in problems)
    assert all(str(p).startswith(f"{file}:") for p in problems)


@pytest.fixture(params=["c", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(document, "_Loader", yaml.SafeLoader)


@pytest.mark.usefixtures("parser")
@hostile
@given(content=st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    survive(tmp_path, content)


@pytest.mark.usefixtures("parser")
@hostile
@given(content=YAMLISH)
def test_any_text_in_yaml_s_own_signs(tmp_path: Path, content: str) -> None:
    survive(tmp_path, content.encode())


@hostile
@given(content=st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_structure_of_known_keys(tmp_path: Path, content: dict[str, object]) -> None:
    survive(tmp_path, yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass"))


@hostile
@given(
    at=st.integers(0, len(SPECIFIED)),
    cut=st.integers(0, 40),
    put=st.binary(max_size=10) | YAMLISH.map(lambda text: text[:10].encode()),
)
def test_the_specifications_example_with_any_damage(tmp_path: Path, at: int, cut: int, put: bytes) -> None:
    survive(tmp_path, SPECIFIED[:at] + put + SPECIFIED[at + cut :])


@given(st.integers(0, 10**7))
def test_any_number_of_seconds_is_a_duration(seconds: int) -> None:
    assert units.duration(f"{seconds}s").total_seconds() == seconds


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{0,15}[wdhmsKMGT ]?[0-9]{0,3}[a-zA-Z]*", fullmatch=True))
def test_any_text_is_a_duration_or_a_size_or_refused_in_a_line(text: str) -> None:
    for read in (units.duration, units.size):
        message = ""
        try:
            read(text)
        except ValueError as error:
            message = str(error)
        assert message.isprintable()
