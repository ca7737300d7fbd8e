"""The contract of a run, and reading one: a model is anything that gives such a folder.

- `<clip>-seed<k>.mp4` for each clip of the index and each seed k; `<clip>.mp4` stands for the first seed;
- exactly the frames of the true clip, at its rate: 49 at 8 fps in the paper;
- at its size, or all at one other size that is not upright: the whole picture is then resized to it, as the
  paper does with models of other sizes (Sec. 5.2.2).

Files that are no videos, and folders, are passed over.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semrepa.config.inputs import VideoConfig
from semrepa.data.decoding.opening import survey
from semrepa.data.index import ClipRow
from semrepa.data.video import ClipError, content_box, read_clip
from semrepa.generate import Generated
from semrepa.runs.report import REASONS, Finding, Pair, Reason, RunError, RunReport

VIDEOS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"}
"""Suffixes of files that count as videos, in small letters."""
_SEED = re.compile(r"(.+)-seed(\d+)")
_UNEVEN = 0.1
"""Share of the time between two frames by which a frame may come early or late."""
_SHOWN = 10
"""Findings listed in one error; the rest is counted."""


def check_run(
    folder: str | Path,
    rows: Sequence[ClipRow],
    video: VideoConfig,
    *,
    seeds: Sequence[int] = (0,),
    resize: bool = True,
    decode: bool = True,
) -> RunReport:
    """Compare a folder with the index that its videos were made from.

    Args:
        folder: the run.
        rows: clips.
        video: frames, rate and size of the true clips.
        seeds: seeds that the run should have; a file without a seed in its name stands for the first.
        resize: whether videos of another size may be resized, as in the paper.
        decode: decode all frames; False looks at the headers only.

    Returns:
        The report: each video is in its `files` or in a finding.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no clips or seeds, or clips whose files cannot be told apart by name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"got run {folder}; expected a folder of mp4 files; check the path")
    pairs = wanted_pairs(rows, seeds)
    candidates, findings = _sort(folder, pairs, seeds[0])
    files: dict[Pair, Path] = {}
    sizes: dict[Pair, tuple[int, int]] = {}
    for pair, found in candidates.items():
        if wrong := _name_problem(pair, found, seeds[0]):
            findings.append(wrong)
            continue
        size, wrong_inside = _look(found[0], pair, video, decode)
        findings += wrong_inside
        if size is not None:
            files[pair], sizes[pair] = found[0], size
    findings += _size_problems(files, sizes, video, resize)
    bad = {finding.pair for finding in findings}
    files = {pair: file for pair, file in files.items() if pair not in bad}
    size = next((sizes[pair] for pair in files), None)
    return RunReport(
        wanted=len(pairs),
        files=files,
        size=size,
        is_resized=size not in (None, (video.height, video.width)),
        findings=tuple(sorted(findings, key=lambda finding: REASONS.index(finding.reason))),
    )


def read_run(
    folder: str | Path,
    rows: Sequence[ClipRow],
    video: VideoConfig,
    *,
    seeds: Sequence[int] = (0,),
    resize: bool = True,
    allow: Collection[Reason] = (),
) -> Iterator[Generated]:
    """Read the videos of a run, one at a time, aligned with the index and at the size of the true clips.

    Args:
        folder: the run.
        rows: clips.
        video: frames, rate and size of the true clips.
        seeds: seeds that the run should have.
        resize: whether videos of another size may be resized.
        allow: reasons that do not stop: videos with such a finding are left out.

    Returns:
        The videos, seed after seed in the order of the clips, as `generate` gives them.

    Raises:
        RunError: anything is wrong that is not allowed; raised before the first video is read, but for damage
            inside a file, which is met on reading it.
        FileNotFoundError: no such folder.
    """
    report = check_run(folder, rows, video, seeds=seeds, resize=resize, decode="unreadable" in allow)
    if stops := [finding for finding in report.findings if finding.reason not in allow]:
        listed = "".join(f"\n  {finding}" for finding in stops[:_SHOWN])
        more = f"\n  and {len(stops) - _SHOWN} more" if len(stops) > _SHOWN else ""
        raise RunError(
            f"got run {folder} with {len(stops)} problems; expected {report.wanted} videos as the contract "
            f"says; mend them, or allow their reasons:{listed}{more}"
        )
    return read_videos(report.files, video)


def read_videos(files: Mapping[Pair, Path], video: VideoConfig) -> Iterator[Generated]:
    """Read videos that `check_run` has found to be as they should be, one at a time.

    Args:
        files: some of the report's files.
        video: frames, rate and size of the true clips.

    Yields:
        The videos, at the size of the true clips.

    Raises:
        RunError: a file is damaged inside.
    """
    for pair, file in files.items():
        try:
            frames = read_clip(file, **video.shape).frames
        except ClipError as error:
            raise RunError(str(error)) from error
        yield Generated(id=pair.clip, seed=pair.seed, frames=frames, path=file)


def wanted_pairs(rows: Sequence[ClipRow], seeds: Sequence[int]) -> list[Pair]:
    """What a run should hold.

    Args:
        rows: clips.
        seeds: seeds of the noise.

    Returns:
        One pair for each video, seed after seed in the order of the clips.

    Raises:
        ValueError: no clips or seeds, some twice, or clips whose files cannot be told apart by name.
    """
    ids = [row.id for row in rows]
    if not ids or not seeds:
        raise ValueError(
            f"got {len(ids)} clips and {len(seeds)} seeds; expected one or more of each; check the split"
        )
    if len({*ids}) < len(ids) or len({*seeds}) < len(seeds):
        raise ValueError("got clips or seeds that repeat; expected each once; give every clip and seed once")
    unclear = [(name, match[1]) for name in ids if (match := _SEED.fullmatch(name)) and match[1] in ids]
    for name, other in unclear:
        raise ValueError(
            f"got clip {name!r} beside {other!r}; expected no clip to be named like a seed of another; "
            "rename one in the index"
        )
    return [Pair(clip, seed) for seed in seeds for clip in ids]


def _sort(
    folder: Path, pairs: Iterable[Pair], first_seed: int
) -> tuple[dict[Pair, list[Path]], list[Finding]]:
    """Files of each pair by name, small and capital letters and suffixes aside, and those of none."""
    found: dict[Pair, list[Path]] = {pair: [] for pair in pairs}
    exact = {pair.clip: pair.clip for pair in found}
    folded = {name.casefold(): name for name in exact}
    extra = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in VIDEOS or file.is_dir():
            continue
        pair = _pair(file.stem, exact, first_seed) or _pair(file.stem.casefold(), folded, first_seed)
        if pair in found:
            found[pair].append(file)
            continue
        what = f"seed {pair.seed} of clip {pair.clip}" if pair else "a name of no clip of the index"
        extra.append(
            Finding(
                reason="extra",
                name=file.name,
                got=what,
                expected="only the clips and seeds that are asked for",
                do="move it elsewhere, or give the index, split and seeds that it was made from",
            )
        )
    return found, extra


def _pair(stem: str, clips: Mapping[str, str], first_seed: int) -> Pair | None:
    if stem in clips:
        return Pair(clips[stem], first_seed)
    match = _SEED.fullmatch(stem)
    return Pair(clips[match[1]], int(match[2])) if match and match[1] in clips else None


def _name_problem(pair: Pair, files: Sequence[Path], first_seed: int) -> Finding | None:
    """Whether there is exactly one file for a video, under its name."""
    names = [file.name for file in files]
    fine = [pair.file, *([f"{pair.clip}.mp4"] if pair.seed == first_seed else [])]
    if len(names) == 1 and names[0] in fine:
        return None
    if not names:
        reason, got, do = "missing", "no such file", "make it, or take the clip out of the index"
    elif len(names) > 1:
        reason, got = "duplicate", f"{len(names)} files: {', '.join(names)}"
        do = "keep the right one and move the others elsewhere"
    else:
        reason, got = "wrong_name", names[0]
        do = "rename it" if files[0].suffix.lower() == ".mp4" else "convert it to mp4"
    return Finding(reason=reason, name=pair.file, got=got, expected=" or ".join(fine), do=do, pair=pair)


def _look(
    file: Path, pair: Pair, video: VideoConfig, decode: bool
) -> tuple[tuple[int, int] | None, list[Finding]]:
    """Height and width of a file, None if it cannot be read, and what is wrong with it, its size aside."""
    try:
        info, stamps = survey(file)
        problems = _timing_problems(stamps.begins, info.fps, video)
        if decode and not problems:
            read_clip(file, **video.shape)
    except ClipError as error:
        return None, [_finding(file, pair, "unreadable", str(error), "a whole video", "make it again")]
    return (info.height, info.width), [_finding(file, pair, *problem) for problem in problems]


def _timing_problems(
    times: Float[np.ndarray, " n"], stated_fps: float, video: VideoConfig
) -> list[tuple[Reason, str, str, str]]:
    """Reason, got, expected and do for the number of frames and the time between them."""
    problems: list[tuple[Reason, str, str, str]] = []
    if len(times) != video.num_frames:
        do = "make exactly as many (semrepa.sliding makes short ones longer), or cut what is too long"
        problems.append(("wrong_length", f"{len(times)} frames", f"{video.num_frames}", do))
    gaps = np.diff(times) if len(times) > 1 else np.array([1 / (stated_fps or video.fps)])
    gap = float(np.median(gaps))
    if np.abs(gaps * video.fps - 1).max() > _UNEVEN:
        is_even = np.abs(gaps / gap - 1).max() <= _UNEVEN
        got = f"{1 / gap:.4g} fps" if is_even else "frames at uneven times"
        do = f"write the same frames again: ffmpeg -r {video.fps:g} -i old.mp4 -crf 12 new.mp4"
        problems.append(("wrong_fps", got, f"{video.fps:g} fps", do))
    return problems


def _finding(file: Path, pair: Pair, reason: Reason, got: str, expected: str, do: str) -> Finding:
    return Finding(reason=reason, name=file.name, got=got, expected=expected, do=do, pair=pair)


def _size_problems(
    files: Mapping[Pair, Path], sizes: Mapping[Pair, tuple[int, int]], video: VideoConfig, resize: bool
) -> list[Finding]:
    """Videos that are not of the size of most, or whose size cannot be brought to that of the true clips."""
    wanted = (video.height, video.width)
    usual = max(Counter(sizes.values()).items(), key=lambda entry: entry[1], default=(wanted, 0))[0]
    problems = []
    for pair, size in sizes.items():
        fills = content_box(size[1], size[0], wanted) == (0, 0, *wanted)
        if size != wanted and not resize:
            expected, do = "x".join(map(str, wanted)), "resize it, or allow resizing"
        elif not fills:
            expected = "a picture that is not upright, which fills the frame"
            do = "give the model the whole first frame, with its black sides, and keep its shape"
        elif size != usual:
            expected = f"{usual[0]}x{usual[1]}, as most of this run"
            do = "make it again as the others; one run is one model at one size"
        else:
            continue
        problems.append(_finding(files[pair], pair, "wrong_size", f"{size[0]}x{size[1]}", expected, do))
    return problems
