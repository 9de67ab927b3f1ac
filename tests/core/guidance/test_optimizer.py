"""The inner loop: AdamW bit for bit, evaluations counted, strength, and gradients that are not finite."""

from __future__ import annotations

import math

import pytest
import torch

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AdaptiveInterval, AMFConfig, GuidanceConfig, LossWeights
from fastvmt_core.guidance.gradient_source import LossScale
from fastvmt_core.guidance.optimizer import GuidanceLog, optimize_latent
from fastvmt_core.objectives.fastvmt import motion_loss
from fastvmt_core.objectives.protocol import MotionLoss

SHAPE = (1, 4, 3, 4, 5)


def a_latent(seed=0, dtype=torch.float32):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def quadratic(latent, factor=1.0):
    """A bowl around 2 with every second cell steeper: total, and its parts as the two terms."""
    steep = torch.arange(latent.numel()).reshape(latent.shape) % 2 * 3 + 1
    amf = (steep * (latent - 2) ** 2).mean() * factor
    return MotionLoss(amf, {"amf": amf, "consistency": amf.new_zeros(())})


class Counted:
    """A loss that counts its calls and may spoil some of them."""

    def __init__(self, loss_fn=quadratic, spoil=None):
        self.calls, self.loss_fn, self.spoil = 0, loss_fn, spoil or {}

    def __call__(self, latent):
        call, self.calls = self.calls, self.calls + 1
        loss = self.loss_fn(latent)
        return MotionLoss(self.spoil[call](loss.total), loss.terms) if call in self.spoil else loss


class NoFiniteGradient(torch.autograd.Function):
    """Passes its input on; the gradient comes back infinite."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * math.inf


class OverflowsAbove(torch.autograd.Function):
    """Passes its input on; gradients above a limit come back infinite, as from float16."""

    @staticmethod
    def forward(ctx, value, limit):
        ctx.limit = limit
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad.masked_fill(grad.abs() > ctx.limit, math.inf), None


def bad_loss(total):
    return total * math.nan


def motion_loss_of(seed=1, weights=None, heads=2):
    """The real loss of a latent whose channels are the queries and keys."""
    config = AMFConfig(temporal_span=3, window=3, tile=(2, 2), sharpness=4)

    def flow(latent, centres=None):
        q = latent[0].permute(1, 2, 3, 0).unflatten(-1, (heads, -1))
        return attention_motion_flow(q, q * 1.5, config, centres)

    reference = flow(a_latent(seed))
    return lambda latent: motion_loss(reference, flow(latent, reference.centres), weights or LossWeights())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_interval_1_is_torch_adamw_bit_for_bit(dtype):
    config = GuidanceConfig(inner_steps=7, gradient_interval=1, lr_start=0.05, lr_end=0.03)
    found, _ = optimize_latent(a_latent(dtype=dtype), motion_loss_of(), config)
    plain = a_latent(dtype=dtype).requires_grad_()
    optimizer = torch.optim.AdamW([plain], weight_decay=0)
    loss_fn = motion_loss_of()
    for step in range(7):
        optimizer.param_groups[0]["lr"] = 0.05 + (0.03 - 0.05) * step / 7
        optimizer.zero_grad()
        loss_fn(plain).total.backward()
        optimizer.step()
    assert found.dtype == dtype
    assert torch.equal(found, plain.detach())


@pytest.mark.parametrize(("steps", "interval"), [(10, 3), (10, 1), (9, 3), (5, 8), (1, 1)])
def test_evaluations_are_j_over_delta_rounded_up(steps, interval):
    loss_fn = Counted()
    _, log = optimize_latent(a_latent(), loss_fn, GuidanceConfig(inner_steps=steps, gradient_interval=interval))
    assert loss_fn.calls == log.gradient_evaluations == math.ceil(steps / interval)
    assert [loss is not None for loss in log.losses] == [step % interval == 0 for step in range(steps)]


def test_cached_steps_apply_the_last_true_gradient():
    config = GuidanceConfig(inner_steps=5, gradient_interval=2, lr_start=0.1, lr_end=0.1)
    found, _ = optimize_latent(a_latent(), quadratic, config)
    plain = a_latent().requires_grad_()
    optimizer = torch.optim.AdamW([plain], lr=0.1, weight_decay=0)
    for step in range(5):
        if step % 2 == 0:
            (gradient,) = torch.autograd.grad(quadratic(plain).total, plain)
        plain.grad = gradient
        optimizer.step()
    assert torch.equal(found, plain.detach())


def first_update(config, weights):
    latent = a_latent()
    found, _ = optimize_latent(latent, motion_loss_of(weights=weights), config)
    return found - latent


def test_half_strength_halves_the_first_update():
    full = first_update(GuidanceConfig(inner_steps=1, strength=1.0), LossWeights())
    half = first_update(GuidanceConfig(inner_steps=1, strength=0.5), LossWeights())
    assert float((half / full - 0.5).abs().max()) <= 0.005


def test_ten_times_both_lambdas_leave_the_first_update():
    config = GuidanceConfig(inner_steps=1)
    one, ten = (first_update(config, LossWeights(amf=5 * factor, consistency=factor)) for factor in (1, 10))
    assert float((ten / one - 1).abs().max()) < 0.01


def test_the_schedules_weight_scales_the_rate():
    config = GuidanceConfig(inner_steps=1, lr_start=0.01)
    full, quarter = (optimize_latent(a_latent(), quadratic, config, weight)[0] - a_latent() for weight in (1.0, 0.25))
    assert torch.allclose(quarter, full / 4, rtol=1e-2)


def test_no_pull_evaluates_nothing():
    loss_fn = Counted()
    latent = a_latent()
    found, log = optimize_latent(latent, loss_fn, GuidanceConfig(strength=0))
    assert torch.equal(found, latent) and found is not latent
    assert loss_fn.calls == 0 and log == GuidanceLog()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_dtype_is_optimised_in_float32_and_returned_as_given(dtype):
    seen = []

    def loss_fn(latent):
        seen.append(latent.dtype)
        return quadratic(latent)

    latent = a_latent(dtype=dtype)
    before = latent.clone()
    found, log = optimize_latent(latent, loss_fn, GuidanceConfig(inner_steps=2, lr_start=0.1))
    assert found.dtype == dtype and not found.requires_grad
    assert set(seen) == {torch.float64 if dtype == torch.float64 else torch.float32}
    assert torch.equal(latent, before) and not torch.equal(found, before)
    assert log.stopped is None


def test_works_inside_inference_mode_and_leaves_it_on():
    with torch.inference_mode():
        found, log = optimize_latent(a_latent(), quadratic, GuidanceConfig(lr_start=0.1, lr_end=0.1))
        assert torch.is_inference_mode_enabled()
    assert log.losses[-1] < log.losses[0] and not found.is_inference()


def test_log_and_callback():
    steps = []
    config = GuidanceConfig(inner_steps=4, gradient_interval=2, lr_start=0.1, lr_end=0.05)
    _, log = optimize_latent(a_latent(), quadratic, config, on_inner_step=steps.append)
    assert tuple(steps) == log.steps
    assert [step.fresh for step in steps] == [True, False, True, False]
    assert steps[1].loss is steps[1].terms is steps[1].cosine is None
    assert steps[0].cosine is None and -1 <= steps[2].cosine <= 1
    assert steps[0].gradient_norm == steps[1].gradient_norm != steps[2].gradient_norm
    assert [step.learning_rate for step in steps] == pytest.approx([0.1, 0.0875, 0.075, 0.0625])
    assert log.losses == [steps[0].loss, None, steps[2].loss, None]


def test_what_the_callback_raises_ends_it():
    def cancel(step):
        raise KeyboardInterrupt

    loss_fn = Counted()
    with pytest.raises(KeyboardInterrupt):
        optimize_latent(a_latent(), loss_fn, GuidanceConfig(), on_inner_step=cancel)
    assert loss_fn.calls == 1


def test_adaptive_saves_evaluations_inside_its_bounds():
    loss_fn = Counted()
    config = GuidanceConfig(inner_steps=20, lr_start=0.01, lr_end=0.01, adaptive=AdaptiveInterval(0.9, 1, 5))
    _, log = optimize_latent(a_latent(), loss_fn, config)
    fresh = [index for index, step in enumerate(log.steps) if step.fresh]
    assert loss_fn.calls == len(fresh) < 10
    assert all(1 <= after - before <= 5 for before, after in zip(fresh[:-1], fresh[1:], strict=True))


@pytest.mark.parametrize("spoil", [bad_loss, NoFiniteGradient.apply], ids=["loss", "gradient"])
def test_without_a_retry_guidance_stops_at_the_last_good_latent(spoil):
    config = GuidanceConfig(inner_steps=6, gradient_interval=2, lr_start=0.1, lr_end=0.1)
    loss_fn = Counted(spoil={call: spoil for call in range(1, 20)})
    found, log = optimize_latent(a_latent(), loss_fn, config)
    assert len(log.steps) == 2 and "inner step 2" in log.stopped and "not finite" in log.stopped
    good, _ = optimize_latent(
        a_latent(), quadratic, GuidanceConfig(inner_steps=2, gradient_interval=2, lr_start=0.1, lr_end=0.1)
    )
    assert torch.equal(found, good)


@pytest.mark.parametrize("spoil", [bad_loss, NoFiniteGradient.apply], ids=["loss", "gradient"])
def test_a_float32_retry_is_asked_once_and_used(spoil):
    config = GuidanceConfig(inner_steps=3, gradient_interval=3, lr_start=0.1, lr_end=0.1)
    retry = Counted()
    found, log = optimize_latent(
        a_latent(), Counted(spoil={call: spoil for call in range(20)}), config, retry_loss_fn=retry
    )
    good, _ = optimize_latent(a_latent(), quadratic, config)
    assert retry.calls == 1 and log.stopped is None
    assert [step.retried for step in log.steps] == [True, False, False]
    assert torch.equal(found, good)


def test_a_failing_retry_stops_guidance():
    spoiled = {call: bad_loss for call in range(20)}
    retry = Counted(spoil=spoiled)
    latent = a_latent()
    found, log = optimize_latent(latent, Counted(spoil=spoiled), GuidanceConfig(), retry_loss_fn=retry)
    assert retry.calls == 1 and log.steps == () and "float32 retry" in log.stopped
    assert torch.equal(found, latent)


def test_the_loss_scale_falls_until_the_gradient_is_finite():
    plain = a_latent().requires_grad_()
    (gradient,) = torch.autograd.grad(quadratic(plain).total, plain)
    limit = float(gradient.abs().max()) * 2.0**14 * 1.01
    loss_fn = Counted(lambda latent: quadratic(OverflowsAbove.apply(latent, limit)))
    config = GuidanceConfig(inner_steps=2, gradient_interval=1, lr_start=1e-6, lr_end=1e-6)
    _, log = optimize_latent(a_latent(), loss_fn, config)
    assert log.stopped is None and log.gradient_evaluations == 2
    # 2**16 overflows once; the scale that works, 2**11, is kept.
    assert loss_fn.calls == 3
    assert log.steps[0].gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-5)


def test_a_scale_that_helped_is_kept_for_the_next_step_and_another_is_not():
    plain = a_latent().requires_grad_()
    (gradient,) = torch.autograd.grad(quadratic(plain).total, plain)
    limit = float(gradient.abs().max()) * 2.0**14 * 1.01
    loss_fn = Counted(lambda latent: quadratic(OverflowsAbove.apply(latent, limit)))
    scale, config = LossScale(), GuidanceConfig(inner_steps=1, lr_start=1e-6, lr_end=1e-6)
    optimize_latent(a_latent(), loss_fn, config, scale=scale)
    assert (loss_fn.calls, scale.value) == (2, 2.0**11)
    optimize_latent(a_latent(), loss_fn, config, scale=scale)
    assert loss_fn.calls == 3
    _, log = optimize_latent(a_latent(), lambda x: quadratic(OverflowsAbove.apply(x, 0.0)), config, scale=scale)
    assert log.stopped is not None and scale.value == 2.0**11


def test_a_gradient_that_underflows_in_half_precision_survives():
    def half_precision(latent):
        loss = quadratic(latent.half(), factor=1.0)
        return MotionLoss((loss.total * 1e-3).float() * 1e-3, loss.terms)

    _, log = optimize_latent(a_latent(), half_precision, GuidanceConfig(inner_steps=1))
    plain = a_latent().requires_grad_()
    (gradient,) = torch.autograd.grad(quadratic(plain, factor=1e-6).total, plain)
    assert log.steps[0].gradient_norm == pytest.approx(float(gradient.norm()), rel=0.01)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="latent: expected a floating-point dtype"):
        optimize_latent(torch.zeros(2, dtype=torch.long), quadratic, GuidanceConfig())
    with pytest.raises(ValueError, match="latent: expected finite"):
        optimize_latent(torch.tensor([1.0, math.nan]), quadratic, GuidanceConfig())
    with pytest.raises(ValueError, match="depends on the latent"):
        optimize_latent(a_latent(), lambda latent: quadratic(latent.detach()), GuidanceConfig())


def test_only_the_given_part_moves_and_by_its_share():
    latent, config = a_latent(), GuidanceConfig(inner_steps=1, lr_start=0.1, lr_end=0.1)
    whole, _ = optimize_latent(latent, quadratic, config)
    step_share = torch.ones(1, 1, *SHAPE[2:])
    step_share[..., 0], step_share[..., 1] = 0, 0.5
    part, _ = optimize_latent(latent, quadratic, config, step_share=step_share)
    assert torch.equal(part[..., 0], latent[..., 0])
    assert torch.allclose(part[..., 1] - latent[..., 1], 0.5 * (whole - latent)[..., 1], atol=1e-6)
    assert torch.equal(part[..., 2:], whole[..., 2:])
