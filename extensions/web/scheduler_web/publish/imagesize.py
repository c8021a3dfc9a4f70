"""Width and height of an image from its first bytes: PNG, GIF, JPEG, WebP, SVG."""

from __future__ import annotations

import re
import struct

HEAD = 65_536
"""Bytes from the start of the file that suffice."""

Size = tuple[int, int]
_SVG = re.compile(rb"<svg\b[^>]*>", re.IGNORECASE | re.DOTALL)


def image_size(head: bytes) -> Size | None:
    """(width, height) in pixels, or None for what is not one of these or is damaged."""
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return _pair(struct.unpack(">II", head[16:24]))
        if head.startswith((b"GIF87a", b"GIF89a")):
            return _pair(struct.unpack("<HH", head[6:10]))
        if head.startswith(b"\xff\xd8"):
            return _jpeg(head)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return _webp(head)
        return _svg(head)
    except (struct.error, IndexError, ValueError):
        return None


def _pair(values: tuple[int, ...]) -> Size | None:
    width, height = values
    return (width, height) if 0 < width <= 100_000 and 0 < height <= 100_000 else None


def _jpeg(head: bytes) -> Size | None:
    position = 2
    while head[position] == 0xFF:
        marker = head[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[position + 5 : position + 9])
            return _pair((width, height))
        position += 2 + struct.unpack(">H", head[position + 2 : position + 4])[0]
    return None


def _webp(head: bytes) -> Size | None:
    form = head[12:16]
    if form == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return _pair((width & 0x3FFF, height & 0x3FFF))
    if form == b"VP8L":
        bits = struct.unpack("<I", head[21:25])[0]
        return _pair(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
    if form == b"VP8X":
        return _pair((int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1))
    return None


def _svg(head: bytes) -> Size | None:
    tag = _SVG.search(head)
    if tag is None:
        return None
    sizes = [re.search(rb"\s%b=[\"']([0-9.]+)(?:px)?[\"']" % name, tag[0]) for name in (b"width", b"height")]
    if sizes[0] and sizes[1]:
        return _pair((round(float(sizes[0][1])), round(float(sizes[1][1]))))
    box = re.search(rb"\sviewBox=[\"']\s*[-0-9.]+[ ,]+[-0-9.]+[ ,]+([0-9.]+)[ ,]+([0-9.]+)", tag[0])
    return _pair((round(float(box[1])), round(float(box[2])))) if box else None
