"""Small collections in the published form of OpenVid-1M, made on the spot."""

import csv
import io
import json
import zipfile
from pathlib import Path

from semrepa.data.ingest.__main__ import main

HEADER = (
    "video,caption,aesthetic score,motion score,temporal consistency score,"
    "camera motion,frame,fps,seconds,new_id"
)
A, B, C = "---_iRTHryQ_13_0to241.mp4", "---_iRTHryQ_14_0to90.mp4", "celebv_-_Bdf9C0SAU_0.mp4"


def contents(name, size=300):
    """Bytes that belong to a name and do not compress to nothing."""
    return bytes((index * 31 + sum(name.encode())) % 251 for index in range(size))


def zipped(names, *, zip64=False, method=zipfile.ZIP_STORED):
    """A zip file as bytes; names may repeat, or come with contents of their own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for given in names:
            name, data = (given, contents(given)) if isinstance(given, str) else given
            with archive.open(name, "w", force_zip64=zip64) as file:
                file.write(data)
    return buffer.getvalue()


def table(path, rows, header=HEADER, encoding="utf-8"):
    """A CSV file in the published form; rows give name, caption and optionally the further columns."""
    with path.open("w", encoding=encoding, newline="") as file:
        if header:
            file.write(header + "\r\n")
        writer = csv.writer(file)
        for name, caption, *more in rows:
            writer.writerow([name, caption, *(more or [5.5, 3.0, 0.99, "pan_left", 241, 30.0, 8.03, 1])])
    return path


def cut(path, data, *places):
    """Write a zip file in pieces path_partaa, path_partab, ..."""
    ends = [*places, len(data)]
    for number, (start, end) in enumerate(zip([0, *places], ends, strict=True)):
        path.with_name(f"{path.name}_parta{'abcdefgh'[number]}").write_bytes(data[start:end])


def run(*words):
    """Exit status of the command line."""
    return main([str(word) for word in words])


def lines(path):
    return [json.loads(text) for text in Path(path).read_text(encoding="utf-8").split("\n") if text]


def problems(path, kind=None):
    """Names in a problems file, of one kind."""
    return [line["name"] for line in lines(path) if kind in (None, line["kind"])]
