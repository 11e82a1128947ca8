"""Networks for tests: small, seeded, with every tensor random, so that one that is not used is missed."""

import torch

from flowseg.network import Network
from flowseg.options import Architecture

TINY = Architecture(widths=(3, 4, 5))


def scrambled(architecture: Architecture = TINY, seed: int = 0) -> Network:
    generator = torch.Generator().manual_seed(seed)
    network = Network(architecture).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif tensor.is_floating_point() and not name.startswith("diam"):
            tensor.normal_(0.5, 0.3, generator=generator)
    return network
