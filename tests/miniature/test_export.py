from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from semrepa.miniature.export import save_onnx


def test_file_computes_what_the_network_does_with_half_the_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3)).eval()
    path = save_onnx(
        network, torch.zeros(1, 3, 16, 16), tmp_path / "pack" / "n.onnx", {0: "batch", 2: "height"}
    )
    image = torch.randn(2, 3, 24, 16)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"image": image.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, network(image), atol=2e-3)
    parameters = sum(p.numel() for p in network.parameters())
    assert path.stat().st_size < 3 * parameters
    assert {entry.key: entry.value for entry in onnx.load(path).metadata_props} == {"semrepa.kind": "mini"}
