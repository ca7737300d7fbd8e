"""From OpenVid-1M, a plain folder or a list of clips to an index: `python -m semrepa.data.ingest --help`.

Every clip ends as a line of the index or as a line of the problems file with a reason. Rows and members of
archives are joined in a temporary database on disk, so a million of them need little memory.
"""
