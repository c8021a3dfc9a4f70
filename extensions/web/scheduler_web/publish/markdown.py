"""The renderer: Markdown text → an HTML fragment. One room behind one function, `render`.

A fragment does not know where it will stand: an address that has to be looked up (another document, an
image) stands in it between TOKEN marks, and whoever places the fragment resolves it.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from typing import Any, NamedTuple

import mistune
from mistune.core import BlockState
from mistune.plugins.def_list import def_list
from mistune.plugins.footnotes import footnotes
from mistune.plugins.formatting import strikethrough
from mistune.plugins.table import table
from mistune.plugins.task_lists import task_lists
from mistune.plugins.url import url as bare_urls
from mistune.util import unescape

from scheduler_web.publish import highlight
from scheduler_web.publish.frontmatter import NOT_TEXT
from scheduler_web.publish.headings import Slugger, outline

VERSION = f"7 mistune {mistune.__version__} pygments {highlight.VERSION}"
"""Part of every fragment's key: another version renders anew."""

LINK, IMAGE, END = "\x01", "\x02", "\x03"
"""Around addresses to resolve. Control characters never come from a text (they are dropped first)."""

_EXTERNAL = re.compile(r"(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
_BARE_URL = re.compile(r"(?<![(<\"'\[=])https?://")
_ALERT = re.compile(r"<p>\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\][ \t]*(?:\n|(?=</p>))")
_TAG = re.compile(r"<[^>]*>")
_FILE = re.compile(r"""\btitle=["']([^"']*)["']""")
_LANGUAGE = re.compile(r"[\w+#.-]{1,40}")
_ID = re.compile(r"""\sid\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)


class Fragment(NamedTuple):
    """`toc`: (level, id, text) of headings 2 to 6. `links` and `images` as written, in order, each once.

    `ids` holds every id in order, so a duplicate is there twice. `excerpt`: the first paragraph's text.
    """

    html: str
    toc: tuple[tuple[int, str, str], ...]
    ids: tuple[str, ...]
    links: tuple[str, ...]
    images: tuple[str, ...]
    words: int
    excerpt: str


def render(text: str, *, title: str = "", trusted: bool = False) -> Fragment:
    """Render a document's body. A first heading that repeats `title` is left out (the page shows it).

    Raw HTML is shown as text unless the source is `trusted`.
    """
    clean = NOT_TEXT.sub("", text)
    engine = _engine(trusted, bool(_BARE_URL.search(clean)))
    state = BlockState()
    state.env.update(links=[], images=[], title=title)
    html, _ = engine.parse(clean, state)
    assert isinstance(html, str)
    html = html.removeprefix("\n")
    return Fragment(
        html=html,
        toc=tuple(state.env.get("outline", ())),
        ids=tuple(a or b or c for a, b, c in _ID.findall(html)) if trusted else _own_ids(engine, state),
        links=tuple(dict.fromkeys(state.env["links"])),
        images=tuple(dict.fromkeys(state.env["images"])),
        words=len(clean.split()),
        excerpt=_excerpt(html),
    )


def _own_ids(engine: mistune.Markdown, state: BlockState) -> tuple[str, ...]:
    assert isinstance(engine.renderer, _Html)
    notes = [f"fn-{n + 1}" for n in range(len(state.env.get("footnotes") or ()))]
    references = [mark for marks in engine.renderer.references.values() for mark in marks]
    return (*state.env.get("heading_ids", ()), *notes, *references)


def _excerpt(html: str) -> str:
    start = html.find("<p>")
    text = _TAG.sub("", html[start + 3 : html.find("</p>", start)]) if start >= 0 else ""
    return " ".join(unescape(text).split())[:400]


@cache
def _engine(trusted: bool, autolink: bool) -> mistune.Markdown:
    """Looking for bare addresses makes a third of the cost: documents without one go without."""
    plugins: list[Any] = [table, strikethrough, footnotes, task_lists, def_list]
    engine = mistune.Markdown(
        renderer=_Html(escape=not trusted), plugins=[*plugins, bare_urls] if autolink else plugins
    )
    engine.before_render_hooks.append(outline)
    renderer = engine.renderer
    assert isinstance(renderer, _Html)
    renderer.register("footnote_item", _footnote_item)
    renderer.register("footnote_ref", _footnote_reference)
    renderer.register("footnotes", _footnotes)
    renderer.register("task_list_item", _task)
    renderer.register("table", _table)
    renderer.register("table_head", _table_head)
    renderer.register("table_cell", _table_cell)
    return engine


class _Html(mistune.HTMLRenderer):
    """mistune's HTML, as HTML5 wants it, with our addresses, code and headings."""

    references: dict[int, list[str]]
    tables: int
    _env: Any = None

    def __call__(self, tokens: Any, state: BlockState) -> str:
        if state.env is not self._env:
            self._env, self.references, self.tables = state.env, {}, 0
        return super().__call__(tokens, state)

    def text(self, text: str) -> str:
        """Entities mean their character, as CommonMark says."""
        if "&" in text:
            text = NOT_TEXT.sub("", unescape(text))
        return escape(text, quote=False)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        target = NOT_TEXT.sub("", self.sanitize_url(url))
        mark = _title(title)
        if target == "#harmful-link":
            return f"<span{mark}>{text}</span>"
        if _EXTERNAL.match(target):
            rel = ' rel="external noopener"' if target.startswith(("http", "//")) else ""
            return f'<a href="{self.escape_attribute(target)}"{mark}{rel}>{text}</a>'
        self._env["links"].append(target)
        return f'<a href="{LINK}{self.escape_attribute(target)}{END}"{mark}>{text}</a>'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        target = NOT_TEXT.sub("", self.sanitize_url(url))
        alt = _TAG.sub("", text).replace('"', "&quot;")
        mark = _title(title)
        if target == "#harmful-link":
            return f"<span{mark}>{alt}</span>"
        if _EXTERNAL.match(target):
            source = f'src="{self.escape_attribute(target)}"'
        else:
            self._env["images"].append(target)
            source = f"{IMAGE}{self.escape_attribute(target)}{END}"
        return f'<img {source} alt="{alt}"{mark} loading="lazy" decoding="async">'

    def linebreak(self) -> str:
        return "<br>\n"

    def thematic_break(self) -> str:
        return "<hr>\n"

    def block_code(self, code: str, info: str | None = None) -> str:
        language = _LANGUAGE.match(info.strip()) if info else None
        name = language[0].lower() if language else ""
        shown = highlight.highlight(code, name).rstrip("\n")
        label = f' data-language="{escape(name)}"' if name else ""
        file = _FILE.search(info) if info else None
        head = f'<p class="code-title">{escape(unescape(file[1]))}</p>' if file else ""
        return f'<div class="code"{label}>{head}<pre tabindex="0"><code>{shown}\n</code></pre></div>\n'

    def block_quote(self, text: str) -> str:
        alert = _ALERT.match(text)
        if alert is None:
            return f"<blockquote>\n{text}</blockquote>\n"
        kind = alert[1].lower()
        rest = text[alert.end() :]
        body = rest.removeprefix("</p>\n") if rest.startswith("</p>") else f"<p>{rest}"
        title = f'<p class="alert-title">{kind.capitalize()}</p>'
        return f'<div class="alert alert-{kind}" role="note">\n{title}\n{body}</div>\n'

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        mark = attrs.get("id")
        if not mark:
            return f"<h{level}>{text}</h{level}>\n"
        name = escape(mark)
        anchor = f'<a class="anchor" href="#{name}" aria-hidden="true" tabindex="-1">#</a>'
        return f'<h{level} id="{name}">{text}{anchor}</h{level}>\n'

    def block_error(self, text: str) -> str:
        return f"<pre>{escape(text)}</pre>\n"


def _title(title: str | None) -> str:
    """An entity may have brought a control character back."""
    return f' title="{escape(NOT_TEXT.sub("", title))}"' if title else ""


def _footnote_reference(renderer: Any, key: str, index: int) -> str:
    seen = renderer.references.setdefault(index, [])
    seen.append(f"fnref-{index}-{len(seen) + 1}" if seen else f"fnref-{index}")
    return f'<sup class="footnote-ref"><a href="#fn-{index}" id="{seen[-1]}">{index}</a></sup>'


def _footnote_item(renderer: Any, text: str, key: str, index: int) -> str:
    back = f' <a href="#fnref-{index}" class="footnote-back" aria-label="Back to reference {index}">↩</a>'
    text = text.rstrip()
    body = f"{text[:-4]}{back}</p>" if text.endswith("</p>") else f"{text}\n{back}"
    return f'<li id="fn-{index}">{body}</li>\n'


def _footnotes(renderer: Any, text: str) -> str:
    return f'<section class="footnotes" aria-label="Footnotes">\n<ol>\n{text}</ol>\n</section>\n'


def _task(renderer: Any, text: str, checked: bool = False) -> str:
    state = " checked" if checked else ""
    words = "done" if checked else "to do"
    box = f'<input type="checkbox" disabled{state} aria-label="{words}">'
    inner = f"<p>{box} {text[3:]}" if text.startswith("<p>") else f"{box} {text}"
    return f'<li class="task">{inner}</li>\n'


def _table(renderer: Any, text: str) -> str:
    renderer.tables += 1
    label = f'tabindex="0" role="region" aria-label="Table {renderer.tables}"'
    return f'<div class="table" {label}><table>\n{text}</table></div>\n'


def _table_head(renderer: Any, text: str) -> str:
    return f"<thead>\n<tr>\n{text}</tr>\n</thead>\n"


def _table_cell(renderer: Any, text: str, align: str | None = None, head: bool = False) -> str:
    titled = head and bool(text.strip())  # an empty heading says nothing of its column
    tag = "th" if titled else "td"
    mark = f' class="{align}"' if align else ""
    scope = ' scope="col"' if titled else ""
    return f"<{tag}{mark}{scope}>{text}</{tag}>\n"


__all__ = ["END", "IMAGE", "LINK", "VERSION", "Fragment", "Slugger", "render"]
