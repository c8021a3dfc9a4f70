"""The guide's page on configuration says what the code does."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from scheduler_daemon.config import load, units
from scheduler_daemon.config.schema import Job, JobOptions, Root
from scheduler_daemon.errors import ConfigurationError

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ROWS = {
    key: cells.strip(" |").split(" | ")
    for keys, cells in re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|(.*)\|$", PAGE, re.MULTILINE)
    for key in re.findall(r"`([\w.]+)`", keys)
}


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, default), sections opened."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel) and not isinstance(default, JobOptions):
            yield from keys(type(default), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", default


@pytest.mark.parametrize(("key", "default"), [*keys(Root), *keys(JobOptions)])
def test_every_optional_key_is_there_with_its_default(key: str, default: Any) -> None:
    written = ROWS["extensions.NAME" if key == "extensions" else key][0]
    if not written.startswith("`") or key in ("state_dir", "control.socket"):
        assert default is None or default == {} or (key, default) == ("timezone", "UTC")
        return
    text = written.strip("`")
    match default:
        case bool():
            assert text == str(default).lower()
        case timedelta():
            assert units.duration(text) == default
        case tuple() | JobOptions():
            assert text in ("[]", "{}")
        case _:
            assert text == str(default)


def test_every_required_key_is_there() -> None:
    assert {name for name, field in Job.model_fields.items() if field.is_required()} <= ROWS.keys()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(example)
    for name in ("scheduler.yaml", "content.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "discord-webhook").write_text("https://discord.example/hook\n")
    environ = {"DATABASE_PASSWORD": "x", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    load(tmp_path / "config.yaml", environ=environ)


def test_the_example_of_mistakes_is_what_check_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r'```yaml title="([^"]+)"\n(.*?)```.*?```text\n(.*?)```', PAGE, re.DOTALL)
    assert found
    monkeypatch.chdir(tmp_path)
    file = Path(found[1])
    file.parent.mkdir()
    file.write_text(found[2])
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ={})
    assert str(caught.value) == found[3].rstrip()
