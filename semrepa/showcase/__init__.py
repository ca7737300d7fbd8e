"""What README and notebooks show of a run: its pictures, labelled, and how long its notebooks took.

python -m semrepa.showcase runs/demo
"""
