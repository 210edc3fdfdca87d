"""Denoising networks: any rank, any size, given grids, zero at the start; averages of weights."""

import pytest
import torch
from rounding import NETWORK

from vqfusion.nn.denoising_transformer import DenoisingTransformer
from vqfusion.nn.embedding import TimeEmbedding
from vqfusion.nn.unet import GridAttention, UNet, count_heads, fit_grid, grid_positions
from vqfusion.train.loop.power_average import (
    PowerAverage,
    exponent_of,
    load_snapshot,
    reconstruct,
    save_snapshot,
)

SIZES = {1: (13,), 2: (6, 9), 3: (4, 5, 6)}


def make(kind, rank, **options):
    torch.manual_seed(0)
    if kind == "unet":
        return UNet(2, 8, (1, 2, 2), rank=rank, **options)
    return DenoisingTransformer(2, 16, 2, patch=2, rank=rank, head_dim=8, **options)


def awaken(network):
    """Random values in place of the zeros that a network starts with."""
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return network


@pytest.mark.parametrize("kind", ["unet", "transformer"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_any_rank_and_size(kind, rank):
    size = SIZES[rank]
    x, t = torch.randn(2, 2, *size), torch.tensor([0.1, 0.9])
    given = (torch.randn(2, 3, *(-(-n // 4) for n in size)), torch.randn(2, 1, *size))
    network = make(kind, rank, given_channels=(3, 1))
    assert (network(x, t, given) == 0).all()  # starts at zero
    awaken(network)
    out = network(x, t, given)
    assert out.shape == x.shape
    assert torch.allclose(network(x, t), network(x, t, [torch.zeros_like(g) for g in given]), atol=1e-6)
    doubled, turned = [2 * given[0], given[1]], [given[0], -given[1]]
    for other in (network(x, 1 - t, given), network(x, t, doubled), network(x, t, turned)):
        assert not torch.allclose(other, out, atol=1e-3)
    alone = network(x[1:], t[1:], [g[1:] for g in given])
    assert torch.allclose(alone[0], out[1], atol=NETWORK)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert network(x, t, given).isfinite().all()


@pytest.mark.parametrize("kind", ["unet", "transformer"])
def test_another_number_of_channels_out_and_wrong_grids(kind):
    network = make(kind, 2, out_channels=5, given_channels=(3,))
    x, t = torch.randn(1, 2, 4, 4), torch.tensor([0.5])
    assert network(x, t, torch.randn(1, 3, 2, 2)).shape == (1, 5, 4, 4)
    with pytest.raises(ValueError, match=r"the network takes conditions of \(3,\) channels, not \(2,\)"):
        network(x, t, torch.randn(1, 2, 2, 2))
    assert network(x, t.double()).dtype == torch.float32


def test_a_unet_extends_by_the_edge_and_crops():
    network = awaken(make("unet", 2, given_channels=(1,)))
    x, given, t = torch.randn(1, 2, 8, 8), torch.randn(1, 1, 8, 8), torch.tensor([0.3])
    whole, whole_given = (torch.cat([part[..., :6], part[..., 5:6].expand(-1, -1, -1, 2)], -1) for part in (x, given))
    assert torch.allclose(network(x[..., :6], t, given[..., :6]), network(whole, t, whole_given)[..., :6], atol=1e-6)


def test_depths_and_attention_are_options():
    x, t = torch.randn(1, 2, 8), torch.tensor([0.3])
    network = awaken(UNet(2, 8, (1, 2), depths=(2, 0), rank=1, attention_layers=0))
    assert network(x, t).shape == x.shape and len(network.down[0].blocks) == 2 and not len(network.up[1].blocks)
    with pytest.raises(ValueError, match="one per level"):
        UNet(2, 8, (1, 2), depths=(1,))


def test_attention_sees_everything_and_no_layers_of_it_are_nothing():
    torch.manual_seed(0)
    x = torch.randn(1, 8, 5, 7)
    y = x.clone()
    y[..., -1, -1] += 1
    attention = GridAttention(8, 1, head_dim=4)
    assert (attention(x)[..., 0, 0] - attention(y)[..., 0, 0]).abs().max() > 1e-4
    assert GridAttention(8, 0)(x) is x


def test_grids_are_averaged_down_and_repeated_up():
    linear = torch.nn.Conv1d(1, 1, 1, bias=False)
    with torch.no_grad():
        linear.weight.fill_(2.0)
    grid = torch.tensor([[[1.0, 3.0, 5.0, 7.0]]])
    assert fit_grid(grid, (2,), linear).flatten().tolist() == [4, 12]
    assert fit_grid(grid, (8,), linear).flatten().tolist() == [2, 2, 6, 6, 10, 10, 14, 14]
    assert fit_grid(grid, (4,), linear).flatten().tolist() == [2, 6, 10, 14]


def test_positions_heads_and_times():
    places = grid_positions((2, 3), torch.device("cpu"))
    assert places.tolist() == [[0, r, c] for r in range(2) for c in range(3)]
    assert [count_heads(d, 32) for d in (16, 32, 64, 96, 112)] == [1, 1, 2, 3, 2]
    embed = TimeEmbedding(8)
    t = torch.tensor([0.0, 0.001, 0.5, 1.0])
    out = embed(t)
    assert out.shape == (4, 8)
    distance = torch.cdist(out, out) + torch.eye(4)
    assert distance.min() > 1e-3
    assert torch.allclose(embed(t.double()), out, atol=1e-4)


# averages of weights


class Ramp(torch.nn.Module):
    """A parameter that follows a curve of the training."""

    def __init__(self):
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(2))

    def set(self, x):
        with torch.no_grad():
            self.value.copy_(torch.tensor([x, x**2]))


def test_exponents_have_their_relative_deviation():
    """Of the density (g + 1) x^g on [0, 1]: the deviation is that of a Beta(g + 1, 1) distribution."""
    for std in (0.01, 0.05, 0.1, 0.25):
        g = exponent_of(std)
        assert g > 0
        a = g + 1
        assert abs((a / ((a + 1) ** 2 * (a + 2))) ** 0.5 - std) < 1e-9
    with pytest.raises(ValueError, match="0.288"):
        exponent_of(0.3)


def test_any_length_is_reconstructed_after_training():
    steps, wanted = 400, (0.05, 0.07, 0.12)
    module = Ramp()
    tracked, exact = PowerAverage(module), PowerAverage(module, wanted)
    snapshots = []
    for step in range(steps):
        module.set((step + 1) / steps)
        tracked.update(module, step)
        exact.update(module, step)
        if (step + 1) % 50 == 0:
            snapshots += tracked.snapshots(step)
    for std in wanted:
        mixed = reconstruct(snapshots, std)["value"]
        assert torch.allclose(mixed, exact.averages[std]["value"], atol=2e-3), std
        g = exponent_of(std)
        assert torch.allclose(mixed, torch.tensor([(g + 1) / (g + 2), (g + 1) / (g + 3)]), atol=6e-3)
    early = reconstruct(snapshots, 0.05, step=200)["value"]
    assert torch.allclose(early, snapshots[6].values["value"], atol=1e-4) and snapshots[6].step == 200
    with pytest.raises(ValueError, match="no snapshots"):
        reconstruct([], 0.1)


def test_snapshots_survive_the_disk(tmp_path):
    module = Ramp()
    average = PowerAverage(module)
    module.set(0.5)
    average.update(module, 0)
    for number, snapshot in enumerate(average.snapshots(0)):
        assert torch.allclose(snapshot.values["value"], module.value)  # the first update takes all
        save_snapshot(snapshot, tmp_path / f"{number}.safetensors")
        back = load_snapshot(tmp_path / f"{number}.safetensors")
        assert (back.std, back.step) == (snapshot.std, 1)
        assert torch.allclose(back.values["value"], snapshot.values["value"], rtol=1e-3)
    from vqfusion.errors import UserError
    from vqfusion.nn.weights import save_weights

    save_weights(tmp_path / "other.safetensors", {"value": module.value})
    with pytest.raises(UserError, match="not a snapshot"):
        load_snapshot(tmp_path / "other.safetensors")
