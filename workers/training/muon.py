"""Muon: momentum for matrices whose update is made orthogonal (Keller Jordan, https://kellerjordan.github.io/posts/muon)."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

# Coefficients of the quintic Newton-Schulz iteration, from the same post.
A, B, C = 3.4445, -4.7750, 2.0315


def orthogonalize(updates: Tensor, *, iterations: int = 5) -> Tensor:
    """Bring all singular values of a stack of matrices (N, rows, columns) near 1; bfloat16 is exact enough."""
    wide = updates.shape[-2] <= updates.shape[-1]
    x = updates if wide else updates.mT
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(iterations):
        gram = x @ x.mT
        x = A * x + (B * gram + C * gram @ gram) @ x
    x = x.to(updates.dtype)
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """For the matrices inside the layers; embeddings and norms want AdamW."""

    def __init__(
        self, matrices: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for matrices in self.by_shape(group["params"]):
                self.step_together(matrices, group)

    @staticmethod
    def by_shape(matrices: Iterable[Tensor]) -> list[list[Tensor]]:
        """Matrices of one shape are orthogonalized as one stack, which is faster."""
        stacks: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for matrix in matrices:
            if matrix.grad is not None:
                stacks[matrix.shape].append(matrix)
        return list(stacks.values())

    def step_together(self, matrices: list[Tensor], group: dict[str, float]) -> None:
        updates = []
        for matrix in matrices:
            moment = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
            moment.lerp_(matrix.grad, 1 - group["momentum"])
            updates.append(matrix.grad.lerp(moment, group["momentum"]))  # Nesterov
        rows, columns = matrices[0].shape
        scale = max(1.0, rows / columns) ** 0.5
        for matrix, update in zip(matrices, orthogonalize(torch.stack(updates)), strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)
