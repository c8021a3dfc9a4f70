"""Whatever happened before, a build gives byte for byte what a clean one gives."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from scheduler_web.publish import feeds, index, pages, pipeline, sitemap, store, workshop
from scheduler_web.publish.problems import PublishError

EXAMPLES = int(os.environ.get("PUBLISH_EXAMPLES", "5"))
POSTS = [f"content/{name}.md" for name in ("alpha", "beta", "gamma", "delta", "deep/epsilon", "über 🎈")]
GUIDES = [f"guide/{name}.md" for name in ("index", "one", "sub/two")]
BODIES = [
    "# A heading\n\nPlain text.\n",
    "See [beta](beta.md), [one](../guide/one.md#part) and [its page](/blog/gamma/).\n\n## Part\n\nMore.\n",
    "![picture](pic.png) and ![missing](nowhere.png)\n\n```python\nprint(1)\n```\n",
    "Note[^1] and [up](../content/alpha.md).\n\n[^1]: Small.\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n",
]
CLEAN: list[str] = []


def _post(site: Any, chance: random.Random) -> None:
    path = chance.choice(POSTS + GUIDES)
    fields = [
        f"title: {chance.choice(['First', 'Second', 'A <b> & c', 'Ünïcode'])}",
        chance.choice(["tags: [one, Two]", "tags: [two, three & four]", "tags: []", "weight: 3"]),
        chance.choice(["draft: true", "public: false", "", "", "", "aliases: [/old/, /blog/beta/]"]),
        chance.choice(
            [f"published_at: 2026-11-0{chance.randint(1, 9)}", "published_at: 2026-11-22T12:00:30Z", ""]
        ),
        chance.choice(["expires_at: 2026-11-22T12:01:30Z", "", "", "updated_at: 2026-11-21", "lang: de"]),
        chance.choice(["slug: chosen", "", "", "", "image: pic.png", "kind: guide"]),
    ]
    head = "\n".join(line for line in fields if line)
    site.write(path, f"---\n{head}\n---\n{chance.choice(BODIES)}")


def _delete(site: Any, chance: random.Random) -> None:
    (site.folder / chance.choice(POSTS + GUIDES)).unlink(missing_ok=True)


def _rename(site: Any, chance: random.Random) -> None:
    source, target = (site.folder / path for path in chance.sample(POSTS + GUIDES, 2))
    if source.exists():
        target.parent.mkdir(exist_ok=True)
        source.rename(target)


def _swap(site: Any, chance: random.Random) -> None:
    one, two = (site.folder / path for path in chance.sample(POSTS[:4], 2))
    if one.exists() and two.exists():
        words = one.read_bytes(), two.read_bytes()
        two.write_bytes(words[0])
        one.write_bytes(words[1])


def _break(site: Any, chance: random.Random) -> None:
    site.write(
        chance.choice(POSTS),
        chance.choice(["---\ntitle: [\n---\n", "no title\n", b"---\ntitle: \xff\n---\n"]),
    )


def _template(site: Any, chance: random.Random) -> None:
    own = site.folder / "own"
    shutil.rmtree(own, ignore_errors=True)
    name = chance.choice(["parts.html", "list.html", "guide.html", "redirect.html", None])
    own.mkdir()
    if name:
        text = (Path(site.templates_of_ours) / ("article.html" if name == "guide.html" else name)).read_text()
        (own / name).write_text(text + f"{{# {chance.random()} #}}<!-- {chance.randint(1, 9)} -->\n")


def _asset(site: Any, chance: random.Random) -> None:
    name = chance.choice(["css/extra.css", "css/site.css", "img/a.svg", "js/more.js"])
    file = site.folder / "assets" / name
    if file.exists() and chance.random() < 0.4:
        file.unlink()
        return
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{chance.randint(1, 9)}" height="4"/>'
    css = f"@import 'extra.css'; body {{ background: url(../img/a.svg) {chance.randint(1, 9)}px }}"
    site.write(f"assets/{name}", svg if name.endswith("svg") else css)


def _picture(site: Any, chance: random.Random) -> None:
    file = site.folder / "content/pic.png"
    if file.exists() and chance.random() < 0.5:
        file.unlink()
    else:
        size = chance.randint(1, 200).to_bytes(4, "big")
        file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + size)


def _configure(site: Any, chance: random.Random) -> None:
    site.config["page_size"] = chance.choice([1, 2, 20])
    site.config["site"] = {**site.config["site"], "name": chance.choice(["A site", "B & site"])}
    site.config["content_sources"]["blog"]["trusted_html"] = chance.random() < 0.5


def _wait(site: Any, chance: random.Random) -> None:
    site.now += chance.choice([1, 60, 3600])


def _publish(site: Any, chance: random.Random) -> None:
    if chance.random() < 0.3:  # in a process of its own, which has kept nothing
        pid = os.fork()
        if pid == 0:
            workshop._manifests, index._documents = store.Kept(), store.Kept()
            try:
                site.publish()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    site.publish()


def _one_step(site: Any, chance: random.Random) -> None:
    """Refused when the manifest was lost: a step alone cannot renew the whole site."""
    with contextlib.suppress(PublishError):
        site.publish(chance.choice([step.name for step in pipeline.STEPS]))


def _dry(site: Any, chance: random.Random) -> None:
    site.publish(dry_run=True)


def _fail(site: Any, chance: random.Random) -> None:
    """A step that raises, or one that cannot make some of its files."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken on purpose")

    room, name = chance.choice(
        [(feeds, "plan"), (sitemap, "_urlset"), (pages, "listing"), (pages, "article")]
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(room, name, broken)
        site.publish()


def _kill(site: Any, chance: random.Random) -> None:
    """A process that publishes, killed at some system call of its own."""
    left = chance.randint(1, 60)
    pid = os.fork()
    if pid == 0:
        with pytest.MonkeyPatch.context() as patched:
            _die_after(patched, left)
            try:
                site.publish()
            finally:
                os._exit(0)
    os.waitpid(pid, 0)


def _die_after(patched: pytest.MonkeyPatch, calls: int) -> None:
    left = [calls]

    def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] <= 0:
                os._exit(9)
            return function(*arguments, **named)

        return call

    patched.setattr(workshop.os, "link", mortal(os.link))
    patched.setattr(store, "save", mortal(store.save))
    patched.setattr(Path, "replace", mortal(Path.replace))
    patched.setattr(Path, "write_bytes", mortal(Path.write_bytes))
    patched.setattr(Path, "unlink", mortal(Path.unlink))


def _damage(site: Any, chance: random.Random) -> None:
    if site.out.exists():
        files = sorted(path for path in site.out.resolve().rglob("*") if path.is_file())
        file = chance.choice(files)
        if chance.random() < 0.5:
            file.unlink()
        else:
            file.write_bytes(b"altered")


def _lose(site: Any, chance: random.Random) -> None:
    name = chance.choice(
        [
            "index",
            "documents-1",
            "documents-a",
            "assets",
            "fragments.sqlite",
            "a.manifest",
            "b.manifest",
            "a.lag",
        ]
    )
    (site.folder / ".out/private" / name).unlink(missing_ok=True)


def _edit_row(site: Any, chance: random.Random) -> None:
    import psycopg

    with psycopg.connect(site.url) as connection:
        connection.execute("UPDATE markdown_content SET title = 'by hand', body = 'by hand'")


ACTIONS = (
    [_post] * 6 + [_publish] * 5 + [_delete, _rename, _rename, _swap, _break, _template, _asset, _picture]
)
ACTIONS += [
    _configure,
    _wait,
    _one_step,
    _one_step,
    _dry,
    _fail,
    _fail,
    _kill,
    _kill,
    _damage,
    _lose,
    _edit_row,
]


@seed(int(os.environ.get("PUBLISH_SEED", "20261122")))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(moves=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2**32)), min_size=12, max_size=30))
def test_incremental_equals_clean(make_site: Any, moves: list[tuple[Any, int]]) -> None:
    CLEAN.append("")
    site = make_site(f"site{len(CLEAN)}")
    site.templates_of_ours = site.context().resources("web.templates")[0][1]
    site.config.update(templates="own", assets="assets")
    (site.folder / "own").mkdir()
    (site.folder / "assets").mkdir()
    for number, (action, chance) in enumerate(moves):
        action(site, random.Random(chance))
        if action in (_publish, _fail) or number == len(moves) - 1:
            _compare(site)


def _compare(site: Any) -> None:
    """A build that repairs what a failure left, against one of another folder that knows nothing."""
    message = site.publish().result.message
    assert not re.search(r"\w+Error: ", message), message
    mine = site.tree()
    folder = site.folder / "clean"
    shutil.rmtree(folder, ignore_errors=True)
    other = site.elsewhere(folder)
    Path(folder).mkdir()
    context = other.context()
    pipeline.publish(context, clock=lambda: site.now)
    root = (folder / "clean").resolve()
    clean = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    assert sorted(mine) == sorted(clean)
    for path, content in clean.items():
        assert mine[path] == content, path
    folders = {
        str(p.parent.relative_to(site.out.resolve())) for p in site.out.resolve().rglob("*") if p.is_file()
    }
    everything = {str(p.relative_to(site.out.resolve())) for p in site.out.resolve().rglob("*") if p.is_dir()}
    assert {f for f in everything if not any(x == f or x.startswith(f + "/") for x in folders)} == set()
