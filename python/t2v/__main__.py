"""`python -m t2v` and `t2v`: the same commands without spaCy's own."""


def main() -> None:
    from .tools import commands

    commands(prog_name="t2v")


if __name__ == "__main__":
    main()
