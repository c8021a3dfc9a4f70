"""One configuration in several files."""

from pathlib import Path

import pytest

from scheduler_daemon.config import load
from scheduler_daemon.errors import ConfigurationError

JOB = "scheduler: {{jobs: [{{name: {0}, extension: e, job: j, schedule: '@hourly', enabled: true}}]}}\n"


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder / "config.yaml", environ={})
    return [str(p).replace(f"{folder}/", "") for p in caught.value.problems]


def lay(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_mappings_merge_and_lists_follow_each_other(tmp_path: Path) -> None:
    lay(
        tmp_path,
        config="includes: [a.yaml, b.yaml]\nextensions: {web: {x: {own: 0}}}\n" + JOB.format("own"),
        a=JOB.format("a") + "extensions: {web: {x: {a: 1}}, core: {}}\nworkers: {min: 2}\n",
        b=JOB.format("b") + "extensions: {web: {y: 2}}\nworkers: {max: 4}\n",
    )
    loaded = load(tmp_path / "config.yaml", environ={})
    assert [job.name for job in loaded.settings.jobs] == ["a", "b", "own"]
    assert loaded.settings.extensions == {"web": {"x": {"a": 1, "own": 0}, "y": 2}, "core": {}}
    assert (loaded.settings.workers.min, loaded.settings.workers.max) == (2, 4)
    assert [file.name for file in loaded.files] == ["a.yaml", "b.yaml", "config.yaml"]


def test_includes_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    lay(tmp_path, config="includes: [sub/one.yaml]\n", three="timezone: Asia/Tokyo\n")
    lay(tmp_path / "sub", one="includes: [deep/two.yaml, ../three.yaml]\n")
    lay(tmp_path / "sub" / "deep", two="workers: {max: 5}\n")
    settings = load(tmp_path / "config.yaml", environ={}).settings
    assert (settings.workers.max, settings.timezone) == (5, "Asia/Tokyo")
    assert settings.base_dir == tmp_path


def test_an_empty_or_fully_commented_file_may_be_included(tmp_path: Path) -> None:
    lay(tmp_path, config="includes: [a.yaml, b.yaml]\ntimezone: UTC\n", a="", b="scheduler:\n  # jobs: []\n")
    assert load(tmp_path / "config.yaml", environ={}).settings.jobs == ()


def test_a_value_set_twice_names_both_places(tmp_path: Path) -> None:
    lay(
        tmp_path,
        config="includes: [a.yaml]\nworkers:\n  max: 3\ntimezone: {}\nscheduler: {jobs: {}}\n",
        a="timezone: UTC\nworkers: {max: 3}\nscheduler: {jobs: []}\n",
    )
    assert mistakes(tmp_path) == [
        "config.yaml:3:8: workers.max is set twice: also in a.yaml:2:16",
        "config.yaml:4:11: timezone is set twice: also in a.yaml:1:11",
        "config.yaml:5:19: scheduler.jobs is set twice: also in a.yaml:3:19",
    ]


def test_a_name_taken_in_two_files_names_both_places(tmp_path: Path) -> None:
    lay(tmp_path, config="includes: [a.yaml]\n" + JOB.format("same"), a=JOB.format("same"))
    assert mistakes(tmp_path) == [
        'config.yaml:2:27: the job name "same" is taken: also in a.yaml:1:27',
    ]


def test_a_missing_include_is_named_with_its_place_and_its_neighbour(tmp_path: Path) -> None:
    lay(tmp_path, config="includes:\n  - scheduler.yml\n", scheduler="")
    assert mistakes(tmp_path) == [
        "config.yaml:2:5: cannot read scheduler.yml: no such file or directory "
        '(did you mean "scheduler.yaml"?)'
    ]


def test_a_circle_is_drawn(tmp_path: Path) -> None:
    lay(tmp_path, config="includes: [a.yaml]\n", a="includes: [b.yaml]\n", b="includes: [config.yaml]\n")
    assert mistakes(tmp_path) == [
        "b.yaml:1:12: includes go round in a circle: config.yaml → a.yaml → b.yaml → config.yaml"
    ]


def test_a_file_that_includes_itself_through_a_link_is_a_circle(tmp_path: Path) -> None:
    lay(tmp_path, config="includes: [link.yaml]\n")
    (tmp_path / "link.yaml").symlink_to("config.yaml")
    assert mistakes(tmp_path) == ["config.yaml:1:12: includes go round in a circle: config.yaml → link.yaml"]


def test_a_file_may_be_included_once(tmp_path: Path) -> None:
    lay(tmp_path, config="includes: [a.yaml, b.yaml]\n", a="includes: [b.yaml]\n", b="timezone: UTC\n")
    assert mistakes(tmp_path) == ["config.yaml:1:20: b.yaml is included twice"]


@pytest.mark.parametrize(
    ("includes", "line"),
    [
        ('"*.yaml"', 'config.yaml:1:12: "*.yaml": includes are explicit files, not patterns'),
        ("'${env:X}.yaml'", 'config.yaml:1:12: "${env:X}.yaml": includes are explicit files, not patterns'),
        ("5", "config.yaml:1:12: an include is the path of a file"),
        (".", "config.yaml:1:12: . is a folder: name a file in it"),
    ],
)
def test_an_include_is_a_file(tmp_path: Path, includes: str, line: str) -> None:
    lay(tmp_path, config=f"includes: [{includes}]\n")
    (found,) = mistakes(tmp_path)
    assert found.replace(str(tmp_path), ".") == line


def test_includes_are_a_list(tmp_path: Path) -> None:
    lay(tmp_path, config="includes: a.yaml\n")
    assert mistakes(tmp_path) == ['config.yaml:1:11: includes is a list of files, for instance ["jobs.yaml"]']


def test_mistakes_in_all_files_come_at_once(tmp_path: Path) -> None:
    lay(tmp_path, config="includes: [a.yaml, b.yaml]\nworkers: {mx: 1}\n", a="a: b: c\n", b="timezone: X\n")
    assert [line.split(": ")[0] for line in mistakes(tmp_path)] == [
        "a.yaml:1:5",
        "b.yaml:1:11",
        "config.yaml:2:11",
    ]
