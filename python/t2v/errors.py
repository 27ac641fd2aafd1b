"""Errors that a user can cause and fix: one line each that says what is wrong, where, and what to do."""


class InputError(Exception):
    """A fault in what the user gave: config, arguments, corpus, vectors. The commands print it as one line and exit 2."""

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        line = f"{where}: {what}" if where else what
        super().__init__(" ".join((f"{line}; {remedy}" if remedy else line).split()))


def nearest(name: str, known: "list[str]") -> str:
    """`did you mean "x"?` if a known name is similar, else nothing."""
    import difflib

    found = difflib.get_close_matches(name, known, n=1)
    return f'did you mean "{found[0]}"?' if found else ""
