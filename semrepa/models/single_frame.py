"""A single frame through CogVideoX's VAE encoder with a third of the work: numbers stay the same.

All taps in time of a causal convolution see the same frame, which stands for the missing ones before it, so
that their sum acts as a kernel in height and width alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXCausalConv3d
from torch import Tensor
from torch.nn import functional

_usual = CogVideoXCausalConv3d.forward


def causal_convolution(
    self: CogVideoXCausalConv3d, inputs: Tensor, conv_cache: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Convolve as `CogVideoXCausalConv3d` does; a single frame with the sum of its kernels.

    Args:
        self: the layer.
        inputs: (b, c, f, h, w).
        conv_cache: last frames of an earlier part of the video; None: there is none.

    Returns:
        Outputs, and the cache for the next part; None after a single frame, which has no next part.
    """
    if inputs.shape[2] > 1 or conv_cache is not None:
        return _usual(self, inputs, conv_cache)
    conv, pad = self.conv, (self.height_pad, self.width_pad)
    output = functional.conv2d(inputs[:, :, 0], conv.weight.sum(dim=2), conv.bias, conv.stride[1:], pad)
    return output[:, :, None], None


@contextmanager
def single_frames(vae: AutoencoderKLCogVideoX) -> Iterator[None]:
    """Context in which videos of one frame go through a VAE quickly; there must be no others.

    Args:
        vae: the VAE; its layers compute as diffusers wrote them afterwards.
    """
    layers = (module for module in vae.modules() if type(module) is CogVideoXCausalConv3d)
    changed = [layer for layer in layers if "forward" not in vars(layer)]  # may be so already
    for module in changed:
        module.forward = causal_convolution.__get__(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward
