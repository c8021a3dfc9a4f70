"""A Markdown file → its fields, checked, and its body. Pure."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import yaml

KINDS = (
    *("article", "blog", "guide", "tutorial", "reference"),
    *("docs", "docs-index", "docs-list", "feature", "playbook", "legal"),
)
MAX_FIELDS_BYTES = 65_536
_FENCE = re.compile(r"---[ \t]*\n")
_END = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.MULTILINE)
_TITLE = re.compile(r"#[ \t]+(?P<title>[^\n]+?)[ \t]*#*[ \t]*(?:\n|\Z)")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class FrontMatterError(ValueError):
    """`line` counts from 1 in the file."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Page(NamedTuple):
    """A file's fields with their lines, its body, and the line on which the body starts."""

    fields: dict[str, Any]
    body: str
    body_line: int
    unknown: tuple[tuple[int, str], ...]


def read(data: bytes, zone: ZoneInfo) -> Page:
    """Split and check a file. Raises FrontMatterError. NUL becomes U+FFFD, as CommonMark asks."""
    text = decode(data)
    opening = _FENCE.match(text)
    if opening is None:
        return _page({}, {}, text, 1, zone)
    closing = _END.search(text, opening.end())
    if closing is None:
        raise FrontMatterError(1, "the front matter that starts here is never closed by a line ---")
    source = text[opening.end() : closing.start()]
    if len(source) > MAX_FIELDS_BYTES:
        raise FrontMatterError(1, f"the front matter is larger than {MAX_FIELDS_BYTES:,} characters")
    raw, lines = _mapping(source)
    return _page(raw, lines, text[closing.end() :], text.count("\n", 0, closing.end()) + 1, zone)


def decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FrontMatterError(line, f"this is not UTF-8 (byte 0x{data[error.start]:02x})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _mapping(source: str) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        loader = yaml.CSafeLoader(source)
        try:
            node = loader.get_single_node()
            if node is None:
                return {}, {}
            if not isinstance(node, yaml.MappingNode):
                raise FrontMatterError(2, "the front matter is not a list of `key: value` lines")
            _refuse_aliases(node, set())
            return loader.construct_document(node), _key_lines(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FrontMatterError((mark.line if mark else 0) + 2, f"{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, FrontMatterError):
            raise
        raise FrontMatterError(2, f"the front matter cannot be read: {str(error).splitlines()[0]}") from None


def _refuse_aliases(node: yaml.Node, seen: set[int]) -> None:
    """An alias makes a small file grow without bound."""
    if id(node) in seen:
        raise FrontMatterError(node.start_mark.line + 2, "YAML aliases (*name) are not allowed here")
    seen.add(id(node))
    if isinstance(node, yaml.CollectionNode):
        for child in node.value:
            for part in child if isinstance(child, tuple) else (child,):
                _refuse_aliases(part, seen)


def _key_lines(node: yaml.MappingNode) -> dict[str, int]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 2
        if key.value in lines:
            raise FrontMatterError(line, f'"{key.value}" is given twice (first in line {lines[key.value]})')
        lines[key.value] = line
    return lines


def _page(
    raw: Mapping[Any, Any], lines: Mapping[str, int], body: str, body_line: int, zone: ZoneInfo
) -> Page:
    fields: dict[str, Any] = {}
    unknown: list[tuple[int, str]] = []
    for key, value in raw.items():
        line = lines.get(str(key), 1)
        check = _CHECKS.get(str(key))
        if check is None:
            unknown.append((line, f'unknown field "{key}"{_suggest(str(key))}'))
        elif value is not None:
            fields[str(key)] = check(_Value(str(key), value, line, zone))
    heading = _TITLE.match(body.lstrip("\n"))
    if "title" not in fields:
        if heading is None:
            raise FrontMatterError(1, "no title: give `title:` in the front matter or start with a # heading")
        fields["title"] = heading["title"]
    return Page(fields, body, body_line, tuple(unknown))


def _suggest(key: str) -> str:
    near = difflib.get_close_matches(key, _CHECKS, 1)
    return f" (did you mean {near[0]}?)" if near else ""


class _Value(NamedTuple):
    key: str
    value: Any
    line: int
    zone: ZoneInfo

    def wrong(self, wanted: str) -> FrontMatterError:
        text = repr(self.value)
        shown = text if len(text) <= 60 else text[:57] + "…"
        return FrontMatterError(self.line, f"{self.key} is {shown}: it should be {wanted}")


NOT_TEXT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
    + "]"
)
"""Controls and noncharacters: neither HTML nor XML knows them."""


def _text(v: _Value) -> str:
    if isinstance(v.value, bool) or not isinstance(v.value, (str, int, float, date)):
        raise v.wrong("a text")
    return " ".join(NOT_TEXT.sub("", str(v.value)).split())


def _title(v: _Value) -> str:
    text = _text(v)
    if not text:
        raise v.wrong("a text that is not empty")
    return text


def _flag(v: _Value) -> bool:
    if not isinstance(v.value, bool):
        raise v.wrong("true or false")
    return v.value


def _whole(v: _Value) -> int:
    if isinstance(v.value, bool) or not isinstance(v.value, int) or abs(v.value) > 1_000_000:
        raise v.wrong("a whole number")
    return v.value


def _kind(v: _Value) -> str:
    if v.value not in KINDS:
        raise v.wrong(f"one of {', '.join(KINDS)}")
    return str(v.value)


def _instant(v: _Value) -> float:
    """Unix seconds. A date means its midnight, a time without a zone is the scheduler's zone's."""
    value = v.value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise v.wrong("a date such as 2026-11-22 or a time such as 2026-11-22T09:30:00Z") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), v.zone)
    if not isinstance(value, datetime) or not 1900 <= value.year <= 2999:
        raise v.wrong("a date such as 2026-11-22 or a time such as 2026-11-22T09:30:00Z")
    moment = value if value.tzinfo else value.replace(tzinfo=v.zone)
    return moment.astimezone(UTC).timestamp()


def _texts(v: _Value) -> tuple[str, ...]:
    values = v.value.split(",") if isinstance(v.value, str) else v.value
    if not isinstance(values, list):
        raise v.wrong("a list of texts, or texts with commas between them")
    texts = [_text(v._replace(value=value)) for value in values]
    return tuple(dict.fromkeys(text for text in texts if text))


def _keywords(v: _Value) -> str:
    return ", ".join(_texts(v))


def _paths(v: _Value) -> tuple[str, ...]:
    paths = _texts(v)
    for path in paths:
        if not path.startswith("/") or not safe_path(path.strip("/")):
            raise v._replace(value=path).wrong("a path of the site such as /old/address/")
    return paths


def _links(v: _Value) -> tuple[tuple[str, str], ...]:
    if not isinstance(v.value, list):
        raise v.wrong("a list of {title, url}")
    found = []
    for entry in v.value:
        if not isinstance(entry, dict) or set(entry) != {"title", "url"}:
            raise v._replace(value=entry).wrong("a mapping of title and url")
        found.append((_text(v._replace(value=entry["title"])), _address(v._replace(value=entry["url"]))))
    return tuple(found)


def _address(v: _Value) -> str:
    text = _text(v)
    if not re.match(r"(https?://|/(?!/)|mailto:)[^\s\"'<>\\]*\Z", text):
        raise v.wrong("an address such as https://example.com/page or /page/")
    return text


def _image(v: _Value) -> str:
    text = _text(v)
    if re.match(r"[a-z][a-z0-9+.-]*:", text, re.IGNORECASE) and not text.startswith(("http://", "https://")):
        raise v.wrong("a file beside the document, a path of the site or an http address")
    return text


def _language(v: _Value) -> str:
    text = _text(v)
    if not _LANGUAGE.fullmatch(text):
        raise v.wrong("a language tag such as en or pt-BR")
    return text


def _slug(v: _Value) -> str:
    slug = unicodedata.normalize("NFC", _text(v)).strip("/")
    if NOT_TEXT.search(str(v.value)) or not safe_path(slug):
        raise v.wrong("a path below the site, without . or .. parts, \\, ?, # or control characters")
    return slug


def safe_path(path: str) -> bool:
    """Whether a relative URL path stays below its folder on every file system that we know."""
    return len(path.encode()) <= 900 and all(
        part not in ("", ".", "..")
        and len(part.encode()) <= 200
        and not re.search(r"[\\?#%:*\"<>|\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", part)
        and part == part.strip()
        for part in path.split("/")
    )


_CHECKS = {
    "title": _title,
    "slug": _slug,
    "description": _text,
    "author": _text,
    "published_at": _instant,
    "updated_at": _instant,
    "expires_at": _instant,
    "kind": _kind,
    "keywords": _keywords,
    "image": _image,
    "category": _text,
    "tags": _texts,
    "links": _links,
    "public": _flag,
    "draft": _flag,
    "aliases": _paths,
    "weight": _whole,
    "canonical_url": _address,
    "lang": _language,
}
