"""From an index of videos to a store of features: read, look, measure and encode every clip once.

rows = ensure_rows(cfg, cache_dir)
store = prepare(cfg, rows, cache_dir)
"""

from semrepa.prepare.clips import ensure_rows, render_row
from semrepa.prepare.features import prepare
from semrepa.prepare.teachers import Teachers, load_teachers

__all__ = ["Teachers", "ensure_rows", "load_teachers", "prepare", "render_row"]
