"""The publish pipeline: Markdown in, a whole site out, at a cost in proportion to what changed."""
