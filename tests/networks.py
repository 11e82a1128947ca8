"""Networks for tests: small, seeded, with every tensor random, so that one that is not used is missed."""

from collections.abc import Callable

import torch

from flowseg.model_config import Architecture
from flowseg.network import Network

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


def layouts(network: torch.nn.Module, work: Callable[[], object]) -> set[torch.memory_format]:
    """Return how what batch normalisation is given lies in memory, and what it gives."""
    seen: set[torch.memory_format] = set()

    def look(module: torch.nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        for tensor in (*given, made):
            last = tensor.is_contiguous(memory_format=torch.channels_last)
            if last != tensor.is_contiguous():  # of one channel it is both
                seen.add(torch.channels_last if last else torch.contiguous_format)

    hooks = [
        module.register_forward_hook(look) for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)
    ]
    work()
    for hook in hooks:
        hook.remove()
    return seen
