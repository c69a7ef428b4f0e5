"""The training step: accumulation, clipping, precision, and steps that are not finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basicsr.engine.errors import NonFiniteError, UserError
from basicsr.engine.nonfinite import MAX_BAD_IN_A_ROW, NonFiniteGuard
from basicsr.engine.optim import build_optimizer
from basicsr.engine.precision import Precision, to_fp32
from basicsr.engine.train_step import TrainStep, grad_norm, split_batch


def make(norm: bool = False, **settings: Any) -> TrainStep:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4) if norm else nn.GELU(), nn.Conv2d(4, 3, 3, padding=1)]
    net = nn.Sequential(*layers)
    name = settings.pop("optimizer", "Adam")
    return TrainStep(net, build_optimizer(name, net.parameters(), settings.pop("lr", 1e-2)), **settings)


def run(step: TrainStep, data: Mapping[str, Any], iteration: int = 1, names: tuple[str, ...] = ()) -> Any:
    def losses(output: Tensor, chunk: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (output - chunk["gt"]).abs().mean() + (output - chunk["gt"]).square().mean()
        return loss, {"l_pix": loss.detach()}

    return step.run(data, lambda chunk: step.net(chunk["lq"]), losses, iteration, names)


def data(count: int = 6, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.rand(count, 3, 8, 8, generator=generator) for key in ("lq", "gt")}


def weights(step: TrainStep) -> Tensor:
    return torch.cat([p.detach().flatten() for p in step.net.parameters()])


@pytest.mark.parametrize("pieces", [2, 3, 4])
def test_accumulated_chunks_equal_the_large_batch(pieces: int) -> None:
    whole, parts = make(), make(accum_iter=pieces)
    for iteration in range(1, 4):
        one, many = run(whole, data(seed=iteration)), run(parts, data(seed=iteration))
        torch.testing.assert_close(many.parts["l_pix"], one.parts["l_pix"], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(many.grad_norm, one.grad_norm, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-4, atol=1e-6)
    assert torch.cat(many.outputs).shape == one.outputs[0].shape and not many.outputs[0].requires_grad


def test_split_keeps_everything_and_splits_what_is_as_long_as_the_batch() -> None:
    chunks = split_batch({"lq": torch.arange(5), "names": list("abcde"), "scale": 2}, 2)
    assert [size for size, _ in chunks] == [2, 3]
    assert [chunk["names"] for _, chunk in chunks] == [["a", "b"], ["c", "d", "e"]]
    assert torch.cat([chunk["lq"] for _, chunk in chunks]).tolist() == list(range(5)) and chunks[0][1]["scale"] == 2
    assert len(split_batch({"lq": torch.zeros(2, 3)}, 8)) == 2


def test_clip_bounds_the_norm_and_reports_the_one_before() -> None:
    step = make(grad_clip=1e-3, optimizer="SGD", lr=1.0)
    before = weights(step)
    result = run(step, data())
    assert float(result.grad_norm) > 0.01
    assert float((weights(step) - before).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_norm_is_that_of_all_gradients() -> None:
    params = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))]
    params[0].grad, params[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0, 0.0])
    assert float(grad_norm(params)) == pytest.approx(5.0)
    assert float(grad_norm([nn.Parameter(torch.zeros(1))])) == 0.0


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_half_precision_learns_and_keeps_weights_and_losses_in_fp32(name: str) -> None:
    precision = Precision(name, "cpu")
    step = make(precision=precision, scaler=precision.make_scaler())
    step.guard = NonFiniteGuard("stop", scaled=step.scaler is not None)
    seen = []

    def losses(output: Tensor, chunk: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append(output.dtype)
        loss = (output - chunk["gt"]).abs().mean()
        return loss, {"l": loss.detach()}

    inner: list[torch.dtype] = []
    step.net[0].register_forward_hook(lambda module, args, output: inner.append(output.dtype))  # type: ignore[operator,index]
    values = []
    for iteration in range(1, 13):
        values.append(float(step.run(data(), lambda c: step.net(c["lq"]), losses, iteration).parts["l"]))
    assert set(inner) == {precision.dtype} and set(seen) == {torch.float32}
    assert all(p.dtype == torch.float32 for p in step.net.parameters()) and values[-1] < values[0]


def test_bf16_is_near_fp32() -> None:
    full, half = make(), make(precision=Precision("bf16", "cpu"))
    assert float(run(half, data()).parts["l_pix"]) == pytest.approx(float(run(full, data()).parts["l_pix"]), rel=0.02)


def test_fp16_overflow_of_gradients_lowers_the_scale_and_leaves_the_weights() -> None:
    precision = Precision("fp16", "cpu")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    step = make(precision=precision, scaler=scaler, guard=NonFiniteGuard("stop", scaled=True))
    before = weights(step)
    assert not run(step, data()).stepped
    assert torch.equal(weights(step), before) and scaler.get_scale() < 2.0**40
    for iteration in range(2, 60):
        run(step, data(), iteration)
    assert not torch.equal(weights(step), before) and step.guard.skipped == 0


def test_unknown_precision_and_nested_conversion() -> None:
    with pytest.raises(UserError, match="fp32, bf16, fp16"):
        Precision("half", "cpu")
    nested = to_fp32({"a": [torch.zeros(1).half(), 3], "b": (torch.zeros(1, dtype=torch.int64),)})
    assert nested["a"][0].dtype == torch.float32 and nested["b"][0].dtype == torch.int64 and nested["a"][1] == 3


def poisoned() -> dict[str, Tensor]:
    batch = data(seed=9)
    batch["lq"][2, 0, 0, 0] = float("nan")
    return batch


def test_nan_stops_with_iteration_parts_and_files_and_weights_stay() -> None:
    step = make(norm=True)
    run(step, data())
    before = {key: value.clone() for key, value in step.net.state_dict().items()}
    with pytest.raises(NonFiniteError) as error:
        run(step, poisoned(), 7, ("/data/good.png", "/data/bad.png"))
    for word in ("teration 7", "l_pix: nan", "/data/bad.png", "train.non_finite: skip"):
        assert word in str(error.value)
    for key, value in step.net.state_dict().items():
        if value.is_floating_point() and "running" not in key:
            assert torch.equal(value, before[key])


def test_skip_leaves_weights_optimizer_and_running_statistics_and_counts() -> None:
    step, clean = make(norm=True, guard=NonFiniteGuard("skip")), make(norm=True)
    for iteration, batch in enumerate([data(seed=1), poisoned(), data(seed=2)], 1):
        result = run(step, batch, iteration)
        assert result.stepped is (iteration != 2)
        if iteration != 2:
            run(clean, batch, iteration)
    assert step.guard.skipped == 1
    for key, value in clean.net.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(step.net.state_dict()[key], value), key


def test_an_infinite_loss_with_finite_gradients_is_seen() -> None:
    step = make()

    def losses(output: Tensor, chunk: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        return output.mean() + torch.tensor(float("inf")), {}

    with pytest.raises(NonFiniteError, match="the loss"):
        step.run(data(), lambda c: step.net(c["lq"]), losses, 1)


def test_skipping_for_ever_ends() -> None:
    step = make(guard=NonFiniteGuard("skip"))
    with pytest.raises(NonFiniteError, match="in a row"):
        for iteration in range(1, MAX_BAD_IN_A_ROW + 2):
            run(step, poisoned(), iteration)


def test_unknown_policy() -> None:
    with pytest.raises(UserError, match="stop or skip"):
        NonFiniteGuard("ignore")


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_a_fused_step_can_be_left_out_on_the_device(name: str) -> None:
    """What CUDA runs use in place of asking the host; the fused kernels of the CPU obey the same flag."""
    step, clean = make(optimizer=name), make(optimizer=name)
    run(step, data()), run(clean, data())
    for p in step.net.parameters():
        p.grad = torch.full_like(p, float("nan"))
    step._step_unless(torch.ones(()))
    assert torch.equal(weights(step), weights(clean))
    run(step, data(seed=1)), run(clean, data(seed=1))
    assert torch.equal(weights(step), weights(clean))


def test_nothing_to_learn_from_is_an_error() -> None:
    step = make()
    with pytest.raises(UserError, match="iteration 4.*start_iter"):
        step.run(data(), lambda c: step.net(c["lq"]), lambda output, c: (output.new_zeros(()), {}), 4)
