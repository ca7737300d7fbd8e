"""What the command lines of the library have in common."""

import argparse


def described(name: str, text: str | None) -> argparse.ArgumentParser:
    """Start a command line whose help is the text of its module.

    Args:
        name: module that is run, such as `semrepa.training`.
        text: its docstring: what it does, a blank line, and examples.

    Returns:
        A parser without options yet.
    """
    description, _, examples = (text or "").partition("\n\n")
    return argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
