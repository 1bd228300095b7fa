"""Networks of PyTorch, and the way from there to Relax."""

import numpy as np
import torch
import tvm
from torch import nn
from tvm.relax.frontend.torch import from_exported_program


def imported(network: nn.Module, images: np.ndarray) -> tvm.IRModule:
    """A network in evaluation mode as a Relax module of one image."""
    exported = torch.export.export(network, (torch.zeros(1, *images.shape[1:]),))
    return from_exported_program(exported, unwrap_unit_return_tuple=True)


def answers(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """What PyTorch computes."""
    with torch.no_grad():
        return network(torch.from_numpy(images)).numpy()


def mobile() -> tuple[nn.Module, np.ndarray]:
    """An untrained `Mobile`, and six images for it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Mobile().eval(), torch.randn(6, 3, 11, 14).numpy()


class Mobile(nn.Module):
    """Depthwise, gated, split, shuffled, pooled: what mobile networks are made of."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 20, 3, stride=2, padding=(1, 2), bias=False)
        self.norm = nn.BatchNorm2d(20)
        self.depthwise = nn.Conv2d(20, 20, 5, padding=4, dilation=2, groups=20)
        self.squeeze, self.excite = nn.Conv2d(20, 4, 1), nn.Conv2d(4, 20, 1)
        self.grouped = nn.Conv2d(10, 10, 3, padding=1, groups=2)
        self.head = nn.Linear(20, 7)

    def forward(self, x):
        x = nn.functional.hardswish(self.norm(self.stem(x)))
        x = nn.functional.silu(self.depthwise(x)) + x
        gate = torch.relu(self.squeeze(nn.functional.adaptive_avg_pool2d(x, 1)))
        x = x * nn.functional.hardsigmoid(self.excite(gate))
        kept, changed = x.chunk(2, 1)
        x = torch.cat([kept, nn.functional.relu6(self.grouped(changed))], 1)
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).flatten(1, 2)
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        x = nn.functional.avg_pool2d(x, 2, 1, padding=1)
        return self.head(nn.functional.gelu(x.mean((2, 3))))
