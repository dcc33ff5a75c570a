"""Muon (Jordan et al. 2024) for hidden matrices and AdamW for the rest, in one optimizer.

- The momentum of a matrix is replaced by the nearest orthogonal one (five Newton-Schulz steps with the quintic of the
  reference), scaled by 0.2 sqrt(max(rows, columns)) so that AdamW's learning rate and decay fit both (Liu et al.
  2025, 2502.16982).
- Newton-Schulz runs in float32 on the CPU: `torch.optim.Muon` does it in bfloat16, which a CPU emulates (2.3 s a
  step where this takes 50 ms). On a GPU it is bfloat16.
- Matrices of one shape are stacked and iterated as one batch; kernels of more axes count as (first, all others).
- Of parameters sharded by FSDP2 all but Newton-Schulz is done on a rank's own rows; whole matrices are divided among
  the ranks and travel by all-to-all in the precision of the iteration, 2 bytes a number on a GPU (see `exchange`). A
  rank sends 2 (n - 1) / n * P / n numbers a step, n the ranks of a shard group, P the numbers in matrices. Copies of
  a shard group all do the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dit_video.errors import ConfigError
from dit_video.optim.adamw import evaluate, start_state
from dit_video.optim.clip import clip as clip_
from dit_video.optim.exchange import Matrix, Round, Shards, deal, shards
from dit_video.optim.groups import Named, check, groups
from dit_video.optim.schedule import Schedule
from dit_video.parallel.local import local

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: singular values come to about 1. `matrices` (b, rows, columns)."""
    if not len(matrices):
        return matrices
    wide = matrices.shape[1] <= matrices.shape[2]
    work = matrices if wide else matrices.mT
    work = work.to(precision(work))
    work = work / (work.norm(dim=(1, 2), keepdim=True) + 1e-7)
    by_gram = work.dtype is not torch.bfloat16 and work.shape[2] >= 2 * work.shape[1]
    work = _iterate_gram(work, steps=steps) if by_gram else _iterate(work, steps=steps)
    return (work if wide else work.mT).to(matrices.dtype)


def precision(tensor: Tensor) -> torch.dtype:
    """What Newton-Schulz of a tensor runs in."""
    if tensor.dtype is torch.float64:
        return torch.float64
    return torch.bfloat16 if tensor.is_cuda else torch.float32


def _iterate(work: Tensor, *, steps: int) -> Tensor:
    """`steps` times X <- (a + b G + c G G) X with G = X X^T."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = work @ work.mT
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        work = torch.baddbmm(work, poly, work, beta=a)
    return work


def _iterate_gram(work: Tensor, *, steps: int) -> Tensor:
    """The same on the small side alone: G <- P G P and Q <- P Q, then Q X once. 1.6 to 1.9 times as fast."""
    a, b, c = COEFFICIENTS
    gram, product = work @ work.mT, None
    for step in range(steps):
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        poly.diagonal(dim1=1, dim2=2).add_(a)
        product = poly if product is None else poly @ product
        if step < steps - 1:
            gram = poly @ gram @ poly
    return work if product is None else product @ work


class Muon(torch.optim.Optimizer):
    """Muon and AdamW in one. State is made at once, so that a checkpoint is read into it in place.

    `lr` is AdamW's scale for all, times `others` for what is no matrix; `momentum` is Muon's (Nesterov) and `steps` its
    Newton-Schulz iterations, `betas` and `eps` are AdamW's; `clip` bounds the total gradient norm.
    """

    def __init__(
        self,
        named: Named,
        *,
        lr: float,
        others: float = 1.0,
        momentum: float = 0.95,
        steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clip: float | None = 1.0,
        schedule: Schedule | None = None,
    ) -> None:
        check(lr=lr, weight_decay=weight_decay, clip=clip, eps=eps, shares=(*betas, momentum))
        found = groups(named, lr=lr, weight_decay=weight_decay, matrices=True)
        super().__init__(found, {"lr": lr, "base_lr": lr})
        self.others, self.momentum, self.steps, self.betas, self.eps = others, momentum, steps, tuple(betas), eps
        self.clip, self.schedule = clip, schedule
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = _start(parameter, matrix=group["matrix"])

    def all_matrices(self) -> list[Matrix]:
        """What Newton-Schulz works on in a step, all parameters having gradients."""
        return [one for group in self.param_groups if group["matrix"] for one in matrices(group["params"])]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update; `closure`, if given, computes the gradients."""
        loss = evaluate(closure)
        if self.clip is not None:
            clip_((p for group in self.param_groups for p in group["params"]), limit=self.clip)
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["matrix"]:
                self._step_matrices(parameters, lr=group["lr"], weight_decay=group["weight_decay"])
            elif parameters:
                self._step_others(parameters, lr=self.others * group["lr"], weight_decay=group["weight_decay"])
        return loss

    @torch.no_grad()
    def _step_matrices(self, parameters: list[Tensor], *, lr: float, weight_decay: float) -> None:
        alike: dict[Shards, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            alike[shards(parameter)].append(parameter)
        for among, members in alike.items():
            gradients = [local(_gradient(member)).flatten(1) for member in members]
            momenta = [_rows(self.state[member]["momentum"]) for member in members]
            weights = [_rows(member) for member in members]
            torch._foreach_lerp_(momenta, gradients, 1 - self.momentum)
            torch._foreach_mul_(weights, 1 - lr * weight_decay)
            within = precision(gradients[0])
            for dealt in deal(matrices(members), ranks=among.ranks, size=within.itemsize):
                turn = Round(dealt, among)
                ahead = torch._foreach_lerp(turn.rows(gradients), turn.rows(momenta), self.momentum)
                found = orthogonalise(turn.gather([rows.to(within) for rows in ahead]), steps=self.steps)
                scale = 0.2 * max(turn.shape) ** 0.5
                deltas = [rows.to(weights[0].dtype) for rows in turn.scatter(found)]
                torch._foreach_add_(turn.rows(weights), deltas, alpha=-lr * scale)

    @torch.no_grad()
    def _step_others(self, parameters: list[Tensor], *, lr: float, weight_decay: float) -> None:
        states = [self.state[parameter] for parameter in parameters]
        torch._fused_adamw_(
            [local(parameter) for parameter in parameters],
            [local(_gradient(parameter)) for parameter in parameters],
            [local(state["exp_avg"]) for state in states],
            [local(state["exp_avg_sq"]) for state in states],
            [],
            self._advance([state["step"] for state in states]),
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    @staticmethod
    def _advance(steps: list[Tensor]) -> list[Tensor]:
        torch._foreach_add_(steps, 1)
        return steps


def matrices(parameters: Sequence[Tensor]) -> list[Matrix]:
    """The matrices that parameters are, or are stacks of along their first axis."""
    found = []
    for number, parameter in enumerate(parameters):
        height, count = parameter.shape[0], int(getattr(parameter, "parts", 1))
        if height % count:
            raise ConfigError(f"a parameter of shape {tuple(parameter.shape)} does not divide into {count} matrices")
        rows, columns = height // count, parameter.shape[1:].numel()
        found += [Matrix(number, height, place * rows, rows, columns) for place in range(count)]
    return found


def _rows(tensor: Tensor) -> Tensor:
    """This rank's rows as a matrix, a view of them."""
    own = local(tensor)
    return own.view(len(own), own.shape[1:].numel())


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _start(parameter: nn.Parameter, *, matrix: bool) -> dict[str, Any]:
    return {"momentum": torch.zeros_like(parameter)} if matrix else start_state(parameter)
