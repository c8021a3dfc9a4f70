"""What to write instead of what other schedulers accept."""


def advise(name: str, text: str) -> str:
    """Advice on `text` in the field `name`, or nothing."""
    return ""
