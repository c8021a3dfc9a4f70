"""How many of a specification's own examples the renderer passes: `commonmark.py SPEC.TXT [SPEC.TXT …]`.

The specification is a text like CommonMark's spec.txt or GFM's; it is not part of this project. Our renderer
writes HTML5 with classes and anchors of its own, so mistune is asked with the same plugins and its own
writer, and compared by structure: as html5lib sees both.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import html5lib
import mistune
from mistune.plugins.formatting import strikethrough
from mistune.plugins.table import table
from mistune.plugins.task_lists import task_lists
from mistune.plugins.url import url

_FENCE = "`" * 32
_EXAMPLE = re.compile(rf"^{_FENCE} example([^\n]*)\n(.*?)^\.\n(.*?)^{_FENCE}$", re.MULTILINE | re.DOTALL)
_OLD_EXAMPLE = re.compile(r"^`{3,} example([^\n]*)\n(.*?)^\.\n(.*?)^`{3,}$", re.MULTILINE | re.DOTALL)


def structure(text: str) -> str:
    """The parsed tree as text, without the white space between blocks."""
    tree = html5lib.parseFragment(text, namespaceHTMLElements=False)
    shown = html5lib.serialize(tree, tree="etree", omit_optional_tags=False, quote_attr_values="always")
    return re.sub(r"\s*\n\s*(?=<)|(?<=>)\s*\n\s*", "", shown.strip())


def examples(spec: str) -> list[tuple[str, str, str]]:
    found = _EXAMPLE.findall(spec) or _OLD_EXAMPLE.findall(spec)
    return [(kind.strip(), text.replace("→", "\t"), html.replace("→", "\t")) for kind, text, html in found]


def main() -> None:
    for name in sys.argv[1:]:
        plain = mistune.create_markdown(escape=False)
        full = mistune.create_markdown(escape=False, plugins=[table, strikethrough, task_lists, url])
        found = examples(Path(name).read_text("utf-8"))
        passed = sum(
            structure(str((full if kind else plain)(text))) == structure(html) for kind, text, html in found
        )
        print(f"{name}: {passed} of {len(found)} examples")


if __name__ == "__main__":
    main()
