"""Which way several processes that train one network exchange what they have."""

import pytest
import torch
from torch import distributed

from flowseg.training.processes import joined


@pytest.mark.parametrize(
    ("device", "has_nccl", "way"), [("cuda", True, "nccl"), ("cuda", False, "gloo"), ("cpu", True, "gloo")]
)
def test_processes_speak_through_what_torch_has(
    monkeypatch: pytest.MonkeyPatch, device: str, has_nccl: bool, way: str
) -> None:
    """For Windows, torch is without NVIDIA's library."""
    asked: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(distributed, "is_nccl_available", lambda: has_nccl)
    monkeypatch.setattr(distributed, "init_process_group", lambda backend, timeout: asked.append(backend))
    for name in ("get_rank", "barrier", "destroy_process_group"):
        monkeypatch.setattr(distributed, name, lambda: 0)
    with joined(device) as (processes, _):
        assert (processes.rank, processes.count, asked) == (0, 2, [way])
