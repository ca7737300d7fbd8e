"""Help of the command lines."""

from semrepa.commands import described


def test_help_is_the_text_of_the_module():
    text = described("semrepa.x", "Does this.\n\n    python -m semrepa.x --a 1\n").format_help()
    assert text.startswith("usage: python -m semrepa.x")
    assert "Does this.\n" in text
    assert text.rstrip().endswith("examples:\n    python -m semrepa.x --a 1")
