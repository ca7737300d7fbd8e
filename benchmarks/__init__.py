"""Scripts that print side-by-side tables of speed and memory; nothing here is a test."""
