from __future__ import annotations

import pytest
import torch
from torch import nn

from dit_video.errors import ConfigError
from dit_video.optim.adamw import AdamW
from dit_video.optim.muon import Muon, _iterate, _iterate_gram, orthogonalise


def step(optimizer: torch.optim.Optimizer, named: dict[str, nn.Parameter], *, seed: int = 0) -> None:
    for index, parameter in enumerate(named.values()):
        generator = torch.Generator().manual_seed(seed + index)
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 16, 48), (2, 48, 16)])
def test_singular_values_come_to_about_one(shape: tuple[int, int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_the_short_way_for_long_matrices_is_the_same() -> None:
    matrices = torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(2)) / 7
    torch.testing.assert_close(_iterate_gram(matrices, steps=5), _iterate(matrices, steps=5), rtol=1e-3, atol=1e-4)


def test_a_stack_is_done_matrix_by_matrix() -> None:
    matrices = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(0))
    one_by_one = torch.cat([orthogonalise(matrix[None]) for matrix in matrices])
    torch.testing.assert_close(orthogonalise(matrices), one_by_one)


def test_scale_of_the_gradient_does_not_matter() -> None:
    matrices = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalise(matrices), orthogonalise(1e4 * matrices), rtol=1e-3, atol=1e-4)


def test_without_matrices_it_is_adamw() -> None:
    def named() -> dict[str, nn.Parameter]:
        torch.manual_seed(0)
        parameters = {"a": nn.Parameter(torch.randn(4, 3)), "b": nn.Parameter(torch.randn(4))}
        parameters["a"].matrix = False
        return parameters

    ours, theirs = named(), named()
    muon, adamw = Muon(ours.items(), lr=1e-2), AdamW(theirs.items(), lr=1e-2)
    for seed in range(4):
        step(muon, ours, seed=seed)
        step(adamw, theirs, seed=seed)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_others_have_a_rate_of_their_own() -> None:
    def after(others: float, lr: float) -> dict[str, nn.Parameter]:
        torch.manual_seed(0)
        parameters = {"a": nn.Parameter(torch.randn(4, 3)), "b": nn.Parameter(torch.randn(4))}
        muon = Muon(parameters.items(), lr=lr, others=others)
        for seed in range(3):
            step(muon, parameters, seed=seed)
        return parameters

    low, half, high = after(0.5, 2e-2), after(1.0, 1e-2), after(1.0, 2e-2)
    assert torch.equal(low["a"], high["a"])
    assert torch.equal(low["b"], half["b"])
    assert not torch.equal(low["b"], high["b"])


def test_parts_equal_separate_matrices() -> None:
    torch.manual_seed(0)
    fused = {"qkv": nn.Parameter(torch.randn(12, 4))}
    fused["qkv"].parts = 3
    apart = {str(i): nn.Parameter(part.clone()) for i, part in enumerate(fused["qkv"].detach().chunk(3))}
    one, three = Muon(fused.items(), lr=0.1, clip=None), Muon(apart.items(), lr=0.1, clip=None)
    gradient = torch.randn(12, 4)
    fused["qkv"].grad = gradient
    for parameter, part in zip(apart.values(), gradient.chunk(3), strict=True):
        parameter.grad = part.clone()
    one.step()
    three.step()
    torch.testing.assert_close(fused["qkv"].detach(), torch.cat([p.detach() for p in apart.values()]))


def test_kernels_count_as_matrices() -> None:
    named = {"conv": nn.Parameter(torch.zeros(4, 3, 2, 2))}
    step(Muon(named.items(), lr=1.0, weight_decay=0.0), named)
    values = torch.linalg.svdvals(named["conv"].detach().flatten(1)) / (0.2 * 12**0.5)
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_parts_must_divide() -> None:
    parameter = nn.Parameter(torch.zeros(5, 4))
    parameter.parts = 3
    with pytest.raises(ConfigError, match="does not divide"):
        step(Muon([("a", parameter)], lr=0.1), {"a": parameter})
