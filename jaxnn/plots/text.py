"""Names as matplotlib writes them."""


def plain(name: str) -> str:
    """A name of the user's own, in which matplotlib sees no formula."""
    return name.replace("$", r"\$")
