"""Step 7, robots.txt by RFC 9309."""

from __future__ import annotations

from scheduler_web.publish.documents import encoded
from scheduler_web.publish.products import Product
from scheduler_web.publish.view import View

AI_CRAWLERS = [
    "AI2Bot",
    "Amazonbot",
    "anthropic-ai",
    "Applebot-Extended",
    "Bytespider",
    "CCBot",
    "ChatGPT-User",
    "Claude-SearchBot",
    "Claude-User",
    "ClaudeBot",
    "cohere-ai",
    "Diffbot",
    "DuckAssistBot",
    "FacebookBot",
    "Google-CloudVertexBot",
    "Google-Extended",
    "GPTBot",
    "meta-externalagent",
    "MistralAI-User",
    "OAI-SearchBot",
    "omgili",
    "Perplexity-User",
    "PerplexityBot",
    "Timpibot",
    "YouBot",
]
"""Product tokens that vendors of AI publish for their crawlers."""


def plan() -> list[Product]:
    return [Product("robots.txt", render)]


def render(view: View) -> bytes:
    """One group for everyone, one for AI crawlers where they are kept out, and the sitemap."""
    rules = view.inputs.site.config.robots
    lines: list[str] = []
    if rules.ai_crawlers == "disallow":
        lines += [f"User-agent: {name}" for name in AI_CRAWLERS]
        lines += ["Disallow: /", ""]
    lines.append("User-agent: *")
    lines += [f"Disallow: {encoded(path)}" for path in rules.disallow] or ["Disallow:"]
    if rules.crawl_delay_s is not None:
        lines.append(f"Crawl-delay: {rules.crawl_delay_s}")
    lines += ["", f"Sitemap: {view.absolute('/sitemap.xml')}"]
    return ("\n".join(lines) + "\n").encode()
