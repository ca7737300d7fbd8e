"""Our metrics beside the usual implementations: CPBD, SSIM, the Fréchet distance, colours of flow.

`python -m benchmarks.metrics` prints CPU seconds on one thread, medians of `--rounds` taken in turns, how
many times faster ours is, how far the answers are apart, and whether the targets are met. What takes half a
minute a round (square roots of 2048 x 2048 matrices) is measured once. The cpbd package is measured where it
is installed; it does not import by itself any more, so the name that scipy has dropped is put back for it.
"""

import argparse
import contextlib
import importlib
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import scipy.linalg
import scipy.ndimage
import torch
from skimage import data
from skimage.feature import canny
from skimage.metrics import structural_similarity
from torchvision.utils import flow_to_image

from semrepa.metrics.distances import frechet_distance
from semrepa.metrics.image import ssim
from semrepa.metrics.motion import paint
from semrepa.metrics.sharpness import cpbd

HEIGHT, WIDTH = 480, 720
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
Ways = dict[str, Callable[[], object]]
"""What is measured, by name; ours comes first."""


def photos() -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of the paper's size, (480, 720, 3)."""
    first, second = (cv2.resize(picture, (WIDTH, HEIGHT)) for picture in (data.coffee(), data.astronaut()))
    return first, second


def sharpness() -> Ways:
    """CPBD of one frame."""
    picture = photos()[0]
    frames = torch.from_numpy(picture).permute(2, 0, 1)[None, None].contiguous()
    red, green, blue = picture.astype(np.uint32).transpose(2, 0, 1)
    luma = ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)
    ways: Ways = {
        "ours": lambda: cpbd(frames).item(),
        "scikit-image's Canny alone": lambda: (canny(luma.astype(float)), None)[1],
    }
    with contextlib.suppress(ImportError):
        scipy.ndimage.imread = None
        package = importlib.import_module("cpbd")
        ways["cpbd package"] = lambda: float(package.compute(luma))
    return ways


def similarity() -> Ways:
    """SSIM of one pair of frames, gaussian window."""
    arrays = photos()
    pair = [torch.from_numpy(x).permute(2, 0, 1)[None, None].contiguous() for x in arrays]
    floats = [x[0].float() for x in pair]
    ways: Ways = {
        "ours": lambda: ssim(*pair).item(),
        "scikit-image": lambda: structural_similarity(*arrays, data_range=255, channel_axis=2, **GAUSSIAN),
    }
    with contextlib.suppress(ImportError):
        theirs = importlib.import_module("torchmetrics.functional.image").structural_similarity_index_measure
        ways["torchmetrics"] = lambda: theirs(*floats, data_range=255.0).item()
    return ways


def uniform() -> Ways:
    """SSIM of one pair of frames, uniform window."""
    arrays = photos()
    pair = [torch.from_numpy(x).permute(2, 0, 1)[None, None].contiguous() for x in arrays]
    return {
        "ours": lambda: ssim(*pair, variant="uniform").item(),
        "scikit-image": lambda: structural_similarity(*arrays, data_range=255, channel_axis=2),
    }


def frechet(rows: int, dims: int) -> Ways:
    """Fréchet distance of two sets of features."""
    chance = torch.Generator().manual_seed(0)
    x, y = (torch.randn(rows, dims, generator=chance).abs() * scale for scale in (0.4, 0.5))
    ways: Ways = {
        "ours": lambda: frechet_distance(x, y),
        "scipy sqrtm": lambda: by_square_root(x.double().numpy(), y.double().numpy()),
    }
    with contextlib.suppress(ImportError):
        theirs = importlib.import_module("torchmetrics.image.fid")._compute_fid

        def compute() -> float:
            means = [z.double().mean(dim=0) for z in (x, y)]
            spreads = [z.double().T.cov() for z in (x, y)]
            return theirs(means[0], spreads[0], means[1], spreads[1]).item()

        ways["torchmetrics"] = compute
    return ways


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    """As pytorch-fid reckons it."""
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def colours() -> Ways:
    """Twelve flows painted, all by the longest of them."""
    flow = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 60, (HEIGHT, WIDTH, 24)), (0, 0), 9)
    flow = torch.from_numpy(flow.transpose(2, 0, 1).reshape(12, 2, HEIGHT, WIDTH).astype(np.float32))
    longest = flow.square().sum(dim=1).sqrt().max().item()
    return {
        "ours": lambda: paint(flow, longest).float().mean().item(),
        "torchvision": lambda: flow_to_image(flow).float().mean().item(),
    }


def measure(ways: Ways, rounds: int, slow: int) -> dict[str, tuple[float, object]]:
    """Median CPU seconds and answer of each way; those after `slow` seconds are not repeated."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, object] = {}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            if seconds[name] and max(seconds[name]) > slow:
                continue
            began = time.process_time()
            answers[name] = way()
            seconds[name].append(time.process_time() - began)
    warm = {name: values[1:] or values for name, values in seconds.items()}
    return {name: (statistics.median(values), answers[name]) for name, values in warm.items()}


def report(title: str, found: dict[str, tuple[float, object]], target: str, met: bool | None) -> None:
    """Print one part of the table."""
    (ours, answer), *_ = found.values()
    verdict = "" if met is None else f"{target}: {'met' if met else 'MISSED'}"
    print(f"{title:<34} {'ours':<28} {ours:>9.4f} {'':>8} {'':>9}  {verdict}")
    for name, (seconds, other) in list(found.items())[1:]:
        apart = "" if other is None else f"{abs(float(other) - float(answer)):.1e}"
        print(f"{'':<34} {name:<28} {seconds:>9.4f} {seconds / ours:>7.1f}x {apart:>9}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Speed of the metrics.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slow", type=int, default=5, help="CPU seconds from which a way is measured once")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"one thread, medians of {options.rounds} rounds")
    print(f"{'':<34} {'':<28} {'CPU s':>9} {'ours is':>8} {'apart':>9}")

    def part(ways: Ways) -> dict[str, tuple[float, object]]:
        return measure(ways, options.rounds, options.slow)

    found = part(sharpness())
    report("CPBD, 480x720", found, "at most 0.08", found["ours"][0] <= 0.08)
    found = part(similarity())
    times = found["scikit-image"][0] / found["ours"][0]
    report("SSIM gaussian, 480x720 RGB", found, "5x scikit-image", times >= 5)
    found = part(uniform())
    times = found["scikit-image"][0] / found["ours"][0]
    report("SSIM uniform, 480x720 RGB", found, "5x scikit-image", times >= 5)
    found = part(frechet(49, 2048))
    report("Fréchet, 49 rows of 2048", found, "at most 0.1", found["ours"][0] <= 0.1)
    report("Fréchet, 1000 rows of 64", part(frechet(1000, 64)), "", None)
    report("colours of 12 flows, 480x720", part(colours()), "", None)


if __name__ == "__main__":
    main()
