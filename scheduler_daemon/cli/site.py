"""Looking at the published site, from this machine only."""

from __future__ import annotations

import os
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click

from scheduler_daemon.cli.command import Session, command

ADDRESS = "127.0.0.1"
PORT = 8000


@command("preview")
@click.option(
    "--directory", type=click.Path(path_type=Path), help="Serve this folder [default: what is published]."
)
@click.option("--config", metavar="FILE", help="The configuration file that says where the site is.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any free one."
)
def preview(session: Session, directory: Path | None, config: str | None, port: int) -> int:
    """Serve the published site on 127.0.0.1, until Ctrl-C; each page is read when it is asked for.

    \b
    Example:
      systemprompt site preview
    """
    folder = directory or published(session, config)
    if not folder.is_dir():
        session.complain(
            f"{folder} is not there yet; publish it with: systemprompt infra jobs run publish_pipeline"
        )
        return 1
    try:
        server = ThreadingHTTPServer((ADDRESS, port), partial(Pages, directory=os.fspath(folder)))
    except OSError as error:
        session.complain(f"port {port} cannot be had ({error.strerror}); choose another with --port")
        return 1
    with server:
        session.terminal.line(
            f"{folder} is at http://{ADDRESS}:{server.server_address[1]}/ — stop with Ctrl-C"
        )
        session.terminal.stream.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            session.terminal.line()
    return 0


def published(session: Session, config: str | None) -> Path:
    """`extensions.web.output` of the configuration, of the running daemon's where none is named."""
    from scheduler_daemon.config import load
    from scheduler_daemon.errors import ConfigurationError

    file = Path(config or session.client.get("/v1/status")["configuration"])
    try:
        settings = load(file).settings
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    return settings.base_dir / str((settings.extensions.get("web") or {}).get("output", "web/dist"))


class Pages(SimpleHTTPRequestHandler):
    """Files with the types that browsers want, the site's own 404 page, and nothing kept in caches."""

    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {  # as the class that it extends
        ".txt": "text/plain; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".xml": "application/xml",
        ".js": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".svg": "image/svg+xml",
        ".webp": "image/webp",
        ".woff2": "font/woff2",
    }

    def end_headers(self) -> None:
        self.send_header("cache-control", "no-cache")
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        page = Path(self.directory, "404.html")
        if code != HTTPStatus.NOT_FOUND or not page.is_file():
            super().send_error(code, message, explain)
            return
        body = page.read_bytes()
        self.send_response(code, message)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Only what went wrong is worth a line."""
        if len(args) > 1 and str(args[1]).startswith(("4", "5")):
            super().log_message(format, *args)
