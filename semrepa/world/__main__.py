"""Render one clip to an mp4 file: python -m semrepa.world --seed 7 --size 480x720 --out clip.mp4."""

import argparse
import re
import sys
from pathlib import Path

from semrepa.world import MOTIONS, SHOTS, render_clip, sample_spec


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected HEIGHTxWIDTH. Pass e.g. 480x720.")
    height, width = int(match[1]), int(match[2])
    if height % 2 or width % 2:
        raise argparse.ArgumentTypeError(f"got {text}; expected even sides, as H.264 wants. Round them up.")
    return height, width


def _mp4(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() != ".mp4":
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a file ending in .mp4. Pass e.g. clip.mp4.")
    if not path.parent.is_dir():
        message = f"got {text!r}; expected an existing folder. Make {path.parent} first."
        raise argparse.ArgumentTypeError(message)
    return path


def _parser() -> argparse.ArgumentParser:
    about = "Render one clip of the sample world."
    parser = argparse.ArgumentParser(prog="python -m semrepa.world", description=about)
    parser.add_argument("--seed", type=int, default=0, help="fixes everything that is not named")
    parser.add_argument("--size", type=_size, help="HEIGHTxWIDTH (default 480x720, vertical 720x480)")
    parser.add_argument("--out", type=_mp4, required=True, help="the mp4 file to write")
    parser.add_argument("--motion", choices=MOTIONS, help="default: drawn from the seed")
    parser.add_argument("--shot", choices=SHOTS, help="default: drawn from the seed")
    parser.add_argument("--identity", type=int, help="which person (default: the seed's)")
    parser.add_argument("--vertical", action="store_true", help="taller than wide")
    parser.add_argument("--empty", action="store_true", help="nobody in the room")
    parser.add_argument("--fps", type=float, default=8.0, help="frames per second (default 8)")
    parser.add_argument("--frames", type=int, default=49, help="number of frames (default 49)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; default: this process's.

    Returns:
        0; unusable arguments end the process with status 2 and a message.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    size = given.size or ((720, 480) if given.vertical else (480, 720))
    identity = "auto" if given.identity is None else given.identity
    try:
        names = ("motion", "shot", "vertical", "empty")
        choices = {name: getattr(given, name) for name in names}
        spec = sample_spec(given.seed, identity=identity, **choices)
        clip = render_clip(spec, size=size, num_frames=given.frames, fps=given.fps)
    except ValueError as error:
        parser.error(str(error))
    from semrepa.data.video import write_video  # needs PyAV, which rendering does not

    write_video(given.out, clip.frames, fps=given.fps)
    print(f"{given.out}: {spec.caption}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
