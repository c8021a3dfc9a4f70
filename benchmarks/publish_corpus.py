"""Realistic posts, the same for one seed: 600 to 1,200 words with headings, code, tables, lists and links."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

WORDS = re.findall(
    r"\w+",
    "time clock queue worker signal table index page reader server night report system change build "
    "cache file folder link commit memory process thread result value failure answer question morning "
    "quarter hour second minute record plan schedule daemon socket message record database column "
    "history window garden river bridge winter summer letter paper story street corner market music "
    "colour shadow silver copper and the of to a in is that it for on with as was at by an be this "
    "are or from which but not have one quick slow early late plain simple careful small large whole "
    "broken finished quiet open closed steady writes reads keeps finds moves waits starts ends holds "
    "takes makes shows tells asks counts remembers",
)
TAGS = tuple(f"topic-{number:02d}" for number in range(40))
CODE = {
    "python": """def wait_for(path, deadline):
    # {word} until the {other} is there
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{{path}} after {number} seconds")
        time.sleep(0.{number})
    return [line.split("{word}") for line in path.read_text().splitlines()]
""",
    "sql": """SELECT {word}_id, count(*) AS {other}, max(created_at)
FROM {word}_events
WHERE created_at > now() - interval '{number} days' AND kind = '{other}'
GROUP BY {word}_id ORDER BY 2 DESC LIMIT {number};
""",
    "bash": """set -eu
for file in /srv/{word}/*.{other}; do
  grep -c "{word}" "$file" || echo "none in $file" >&2
done | sort -n | tail -{number}
""",
    "yaml": """- name: {word}_{other}
  extension: core
  schedule: "0 */{number} * * * *"
  enabled: true
""",
}


class Post(NamedTuple):
    slug: str
    title: str
    date: date
    tags: tuple[str, ...]
    description: str
    body: str


def posts(count: int, seed: int = 20261122) -> list[Post]:
    """`count` posts over ten years, newest last."""
    start = date(2016, 11, 1)
    return [
        _post(random.Random(f"{seed}/{n}"), n, start + timedelta(days=3650 * n // count))
        for n in range(count)
    ]


def _post(chance: random.Random, number: int, day: date) -> Post:
    title = " ".join(chance.choices(WORDS, k=chance.randint(3, 7))).capitalize()
    goal = chance.randint(600, 1200)
    parts: list[str] = []
    words = 0
    while words < goal:
        part = _part(chance, number)
        words += len(part.split())
        parts.append(part)
    tags = tuple(chance.sample(TAGS, 3))
    return Post(f"post-{number:05d}", title, day, tags, _sentence(chance), "\n\n".join(parts) + "\n")


def _part(chance: random.Random, number: int) -> str:
    kind = chance.random()
    if kind < 0.13:
        return f"## {' '.join(chance.choices(WORDS, k=4)).capitalize()}"
    if kind < 0.22:
        language = chance.choice(list(CODE))
        code = CODE[language].format(
            word=chance.choice(WORDS), other=chance.choice(WORDS), number=chance.randint(2, 59)
        )
        return f"```{language}\n{code}```"
    if kind < 0.26:
        rows = [
            f"| {chance.choice(WORDS)} | {chance.randint(1, 999)} | {_words(chance, 4)} |" for _ in range(5)
        ]
        return "\n".join(["| name | count | what |", "|---|--:|---|", *rows])
    if kind < 0.36:
        return "\n".join(f"- {_sentence(chance)}" for _ in range(chance.randint(3, 6)))
    if kind < 0.4:
        return f"> {_sentence(chance)} {_sentence(chance)}"
    return " ".join(_inline(chance, number) for _ in range(chance.randint(3, 6)))


def _inline(chance: random.Random, number: int) -> str:
    text = _sentence(chance)
    kind = chance.random()
    if kind < 0.12:
        return f"{text} See [{_words(chance, 2)}](https://example.com/{chance.choice(WORDS)}/{number})."
    if kind < 0.24:
        return f"{text} The `{chance.choice(WORDS)}_{chance.choice(WORDS)}` is **{_words(chance, 2)}**."
    return f"{text} It *{chance.choice(WORDS)}*." if kind < 0.32 else text


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(WORDS, k=count))


def _sentence(chance: random.Random) -> str:
    return _words(chance, chance.randint(7, 18)).capitalize() + "."


def write(folder: Path, found: list[Post]) -> None:
    """The posts as Markdown files with YAML front matter that ours, Hugo and Pelican all read."""
    folder.mkdir(parents=True, exist_ok=True)
    for post in found:
        (folder / f"{post.slug}.md").write_text(text(post), "utf-8")


def text(post: Post) -> str:
    tags = ", ".join(post.tags)
    head = (
        f"title: {post.title}\npublished_at: {post.date}\ntags: [{tags}]\ndescription: {post.description}\n"
    )
    return f"---\n{head}---\n\n{post.body}"
