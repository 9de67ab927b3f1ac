"""Edits of a motion: what each one promises, on motions whose movement is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.flow import AttentionMotionFlow
from fastvmt_core.attention.windows import Tiling, frame_pairs
from fastvmt_core.config import AMFConfig, TrajectoryConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion import (
    blend as motion_blend,
)
from fastvmt_core.motion import (
    edit as motion_edit,
)
from fastvmt_core.motion import (
    fields as motion_fields,
)
from fastvmt_core.motion import (
    resize as motion_size,
)
from fastvmt_core.motion.about import About
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.fingerprint import ModelFingerprint
from fastvmt_core.motion.trajectories import camera_path, latent_steps, sampled, token_positions, trajectories
from fastvmt_core.motion.transport import splat

GRID = TokenGrid(5, 9, 10)
CONFIG = AMFConfig(temporal_span=3, window=5, tile=(3, 5))
FINGERPRINT = ModelFingerprint("WAN21", dim=256, heads=2, depth=6, block=3, latent_channels=16)
# Sums of a few float32 of order 10.
CLOSE = {"atol": 1e-5, "rtol": 0}
# A disc of seven tokens whose tracks are read between tokens: its movement is known to a few hundredths of its length.
NEAR = {"atol": 0.1, "rtol": 0.04}


def made(displacement, grid=GRID, config=CONFIG, **more):
    """A motion of one flow; window centres lie on the tiles."""
    pairs = frame_pairs(grid.frames, config.temporal_span)
    own = Tiling(grid.height, grid.width, config.tile).representatives().float()
    flow = AttentionMotionFlow(
        pairs, displacement, own.expand(len(pairs), -1, -1).clone(), temporal_span=config.temporal_span
    )
    return MotionEmbedding((flow,), (0.3,), grid, config, 0, FINGERPRINT, None, "made", **more)


def steps_of_path(path, radius=1.5, grid=GRID):
    """(2, F - 1, H, W, 2): a disc on `path` (F, 2) over a background at rest."""
    own, found = token_positions(grid.height, grid.width), torch.zeros(2, grid.frames - 1, grid.height, grid.width, 2)
    for time in range(grid.frames - 1):
        for side, (here, there) in enumerate(((time, time + 1), (time + 1, time))):
            on = torch.linalg.vector_norm(own - path[here], dim=-1) <= radius
            found[side, time][on] = path[there] - path[here]
    return found


def flow_of_path(path, radius=1.5, grid=GRID, config=CONFIG):
    """(P, H, W, 2): the disc's tokens move with it."""
    own, fields = token_positions(grid.height, grid.width), []
    for i, j in frame_pairs(grid.frames, config.temporal_span):
        on = torch.linalg.vector_norm(own - path[i], dim=-1) <= radius
        fields.append(torch.where(on[..., None], path[j] - path[i], 0))
    return torch.stack(fields)


PATH = torch.tensor([[3.0, 4], [4, 4], [5, 4], [6, 4], [7, 4]])


def disc(path=PATH, **more):
    return made(flow_of_path(path), frame_flow=steps_of_path(path), **more)


def noisy(seed=0, **more):
    """A motion of small random vectors that holds everything that a motion can hold."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(frame_pairs(GRID.frames, 3)), GRID.height, GRID.width, 2

    def random(*size):
        return torch.rand(size, generator=generator) - 0.5

    held = {
        "static_bias": (random(*shape),),
        "backward": (random(*shape),),
        "frame_flow": random(2, 4, 9, 10, 2),
        "mask": random(5, 9, 10) + 0.5,
        "thumbnail": (256 * (random(4, 6, 3) + 0.5)).to(torch.uint8),
        "about": About("walk", "left to right", 832, 480, 16.0),
        "cuts": (2,),
    }
    motion = made(random(*shape), **{**held, **more})
    flow = motion.flows[0]
    centres = (flow.centres + 2 * random(*flow.centres.shape)).clamp(min=0)
    flow = replace(flow, centres=torch.minimum(centres, torch.tensor((9.0, 8.0))))
    return replace(motion, flows=(flow,))


def tensors_of(motion):
    flow = motion.flows[0]
    held = [flow.displacement, flow.centres, *motion.static_bias, *motion.backward]
    return [*held, motion.frame_flow, motion.mask, motion.thumbnail.float()]


@pytest.mark.parametrize(
    "edit",
    [
        motion_edit.mirror,
        lambda motion: motion_edit.mirror(motion, "vertical"),
        motion_edit.reverse,
    ],
)
def test_twice_is_the_identity(edit):
    motion = noisy()
    once, twice = edit(motion), edit(edit(motion))
    assert not torch.allclose(once.flows[0].displacement, motion.flows[0].displacement, atol=0.1)
    assert (twice.cuts, twice.grid, twice.about) == (motion.cuts, motion.grid, motion.about)
    for after, before in zip(tensors_of(twice), tensors_of(motion), strict=True):
        torch.testing.assert_close(after, before, **CLOSE)


def test_mirroring_moves_the_carriers_and_turns_the_vectors():
    mirrored = motion_edit.mirror(disc())
    turned = PATH * torch.tensor([-1.0, 1]) + torch.tensor([9.0, 0])
    torch.testing.assert_close(mirrored.flows[0].displacement, flow_of_path(turned), **CLOSE)
    upright = motion_edit.mirror(disc(), "vertical")
    torch.testing.assert_close(
        upright.flows[0].displacement, flow_of_path(torch.stack((PATH[:, 0], 8 - PATH[:, 1]), 1))
    )


def test_the_rest_stays_where_it_is():
    rest = torch.full((12, 9, 10, 2), 0.25)
    motion = made(flow_of_path(PATH) + rest, frame_flow=steps_of_path(PATH), static_bias=(rest,))
    plain = disc()
    for edit in (motion_edit.mirror, motion_edit.reverse, lambda each: motion_edit.amplify(each, 0.5)):
        beyond = edit(motion).flows[0].displacement - rest
        # In the last row and column the sum would point out of the frame.
        torch.testing.assert_close(beyond[:, :-1, :-1], edit(plain).flows[0].displacement[:, :-1, :-1], **CLOSE)


@pytest.mark.parametrize("backward", [True, False])
def test_reversing(backward):
    held = (flow_of_path(PATH.flip(0)),) if backward else ()
    motion = motion_edit.reverse(disc(backward=held))
    expected = flow_of_path(PATH.flip(0))
    torch.testing.assert_close(motion.flows[0].displacement, expected, **CLOSE)
    # Reversed once more it is as before, as far as its vectors show it.
    torch.testing.assert_close(motion_edit.reverse(motion).flows[0].displacement, flow_of_path(PATH), **CLOSE)
    assert replace(disc(), cuts=(1, 3)).cuts == motion_edit.reverse(replace(disc(), cuts=(2, 4))).cuts


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.5])
def test_amplifying_scales_a_pan(factor):
    step = torch.tensor([0.5, -0.25])
    pairs = frame_pairs(GRID.frames, 3)
    pan = torch.stack([(j - i) * step.expand(9, 10, 2) for i, j in pairs])
    steps = torch.stack((step.expand(4, 9, 10, 2), -step.expand(4, 9, 10, 2)))
    edited = motion_edit.amplify(made(pan, frame_flow=steps), factor).flows[0].displacement
    # At the border the target is kept inside the frame, and tracks end there.
    torch.testing.assert_close(edited[:, 4:5, 4:6], factor * pan[:, 4:5, 4:6], **CLOSE)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_amplifying_moves_the_carriers_about_the_middle_of_their_way(factor):
    edited = motion_edit.amplify(disc(), factor)
    wanted = PATH.mean(0) + factor * (PATH - PATH.mean(0))
    for index, (i, j) in enumerate(edited.flows[0].pairs):
        at = sampled(edited.flows[0].displacement[index], wanted[i][None, None])[0, 0]
        torch.testing.assert_close(at, wanted[j] - wanted[i], **NEAR)
    # The edited steps are what the next edit follows; each time its disc is laid down between tokens, its edge blurs.
    again = motion_edit.amplify(edited, 1 / factor)
    for index, (i, j) in enumerate(again.flows[0].pairs):
        at = sampled(again.flows[0].displacement[index], PATH[i][None, None])[0, 0]
        torch.testing.assert_close(at, PATH[j] - PATH[i], atol=0.1, rtol=0.2)


def test_amplifying_by_one_changes_nothing():
    motion = disc()
    torch.testing.assert_close(motion_edit.amplify(motion, 1.0).flows[0].displacement, motion.flows[0].displacement)


def test_half_the_speed_shows_the_first_half():
    slow = motion_edit.change_speed(disc(), 0.5)
    wanted = PATH[0] + 0.5 * (PATH - PATH[0])
    for index, (i, j) in enumerate(slow.flows[0].pairs):
        at = sampled(slow.flows[0].displacement[index], wanted[i][None, None])[0, 0]
        torch.testing.assert_close(at, wanted[j] - wanted[i], **NEAR)


def test_twice_the_speed_ends_early_and_holds():
    fast = motion_edit.change_speed(disc(), 2.0)
    index = fast.flows[0].pairs.index((0, 1))
    at = sampled(fast.flows[0].displacement[index], PATH[0][None, None])[0, 0]
    torch.testing.assert_close(at, torch.tensor([2.0, 0]), **NEAR)
    held = fast.flows[0].displacement[fast.flows[0].pairs.index((3, 4))]
    torch.testing.assert_close(sampled(held, PATH[4][None, None])[0, 0], torch.zeros(2), **NEAR)
    assert float(held.norm(dim=-1).mean()) < 0.05


def test_freezing_holds_a_frame_and_goes_on_from_there():
    frozen = motion_edit.freeze(disc(), 1, 3)
    found = [
        sampled(frozen.flows[0].displacement[frozen.flows[0].pairs.index((i, i + 1))], PATH[start][None, None])[0, 0, 0]
        for i, start in ((0, 0), (1, 1), (2, 1), (3, 1))
    ]
    torch.testing.assert_close(torch.stack(found), torch.tensor([1.0, 0, 0, 1]), **NEAR)
    with pytest.raises(ValueError, match="freeze: expected frames of the latent in order, from 0 to 4, got 3 to 1"):
        motion_edit.freeze(disc(), 3, 1)


def panned(step=(0.5, 0.25)):
    """A disc that moves to the left before a background that moves by `step` a frame."""
    step, grid = torch.tensor(step), GRID
    path = torch.tensor([[6.0, 4], [5.5, 4], [5, 4], [4.5, 4], [4, 4]])
    on = [torch.linalg.vector_norm(token_positions(9, 10) - place, dim=-1) <= 1.5 for place in path]
    fields = [torch.where(on[i][..., None], path[j] - path[i], (j - i) * step) for i, j in frame_pairs(grid.frames, 3)]
    steps = torch.stack(
        (
            torch.stack([torch.where(on[t][..., None], path[t + 1] - path[t], step) for t in range(4)]),
            torch.stack([torch.where(on[t + 1][..., None], path[t] - path[t + 1], -step) for t in range(4)]),
        )
    )
    return made(torch.stack(fields), frame_flow=steps), step


def test_taking_the_camera_out_leaves_nothing_of_a_pan():
    step = torch.tensor([0.5, 0.25])
    pairs = frame_pairs(GRID.frames, 3)
    pan = torch.stack([(j - i) * step.expand(9, 10, 2) for i, j in pairs])
    steps = torch.stack((step.expand(4, 9, 10, 2), -step.expand(4, 9, 10, 2)))
    still = motion_edit.without_camera(made(pan, frame_flow=steps)).flows[0].displacement
    torch.testing.assert_close(still.mean((1, 2)), torch.zeros(len(pairs), 2), atol=0.02, rtol=0)
    assert float(pan.mean((1, 2)).norm()) > 1


def test_taking_the_camera_out_leaves_the_background_at_rest_and_the_subject_its_own_way():
    motion, step = panned()
    still = motion_edit.without_camera(motion)
    pairs = still.flows[0].pairs
    for index, (i, j) in enumerate(pairs):
        background = still.flows[0].displacement[index, :2].mean((0, 1))
        torch.testing.assert_close(background, torch.zeros(2), atol=0.05, rtol=0)
        subject = torch.tensor([6.0 - 0.5 * i, 4]) - i * step
        own = sampled(still.flows[0].displacement[index], subject[None, None])[0, 0]
        torch.testing.assert_close(own, (j - i) * torch.tensor([-1.0, -0.25]), atol=0.1, rtol=0)


def test_the_camera_alone():
    motion, step = panned()
    camera = motion_edit.only_camera(motion)
    for index, (i, j) in enumerate(camera.flows[0].pairs):
        background = camera.flows[0].displacement[index, :2, 2:8].mean((0, 1))
        torch.testing.assert_close(background, (j - i) * step, **NEAR)
        subject = torch.tensor([5.0, 4]) + (i - 2) * step
        own = sampled(camera.flows[0].displacement[index], subject[None, None])[0, 0]
        torch.testing.assert_close(own, (j - i) * step, atol=0.25, rtol=0)


def test_the_subject_of_one_before_the_camera_of_another():
    subject, own = panned()
    camera, given = panned((-0.5, 0.5))
    both = motion_blend.subject_and_camera(subject, camera)
    torch.testing.assert_close(motion_fields.camera_of(both)[-1], 4 * given, atol=0.1, rtol=0)
    for index, (i, j) in enumerate(both.flows[0].pairs):
        background = both.flows[0].displacement[index, :2, 2:8].mean((0, 1))
        torch.testing.assert_close(background, (j - i) * given, **NEAR)
        place = torch.tensor([6.0 - 0.5 * i, 4]) + i * (given - own)
        seen = sampled(both.flows[0].displacement[index], place[None, None])[0, 0]
        torch.testing.assert_close(seen, (j - i) * (torch.tensor([-0.5, 0.0]) + given - own), atol=0.25, rtol=0)


def test_another_size_scales_vectors_and_window():
    motion = made(torch.full((12, 9, 10, 2), 0.5), frame_flow=torch.zeros(2, 4, 9, 10, 2))
    wide = motion_size.fit_to(motion, TokenGrid(5, 9, 20))
    torch.testing.assert_close(wide.flows[0].displacement[..., 0], torch.full((12, 9, 20), 1.0), **CLOSE)
    torch.testing.assert_close(wide.flows[0].displacement[..., 1], torch.full((12, 9, 20), 0.5), **CLOSE)
    assert motion_size.fit_to(motion, TokenGrid(5, 18, 20)).config.window == 11 and wide.config.window == 7
    assert motion_size.fit_to(motion, GRID) is motion


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9, 14])
def test_the_cuts_at_another_length_are_those_of_the_motion_fitted_to_it(frames):
    motion = replace(disc(), cuts=(1, 3))
    assert motion_size.cuts_at(motion, frames) == motion_size.fit_to(motion, TokenGrid(frames, 9, 10)).cuts


@pytest.mark.parametrize("frames", [1, 3, 9])
def test_another_length_keeps_the_way(frames):
    motion = motion_size.fit_to(disc(), TokenGrid(frames, 9, 10))
    assert motion.flows[0].pairs == frame_pairs(frames, 3)
    times = torch.linspace(0, 4, frames) if frames > 1 else torch.zeros(1)
    wanted = torch.stack((3 + times, torch.full((frames,), 4.0)), 1)
    for index, (i, j) in enumerate(motion.flows[0].pairs):
        at = sampled(motion.flows[0].displacement[index], wanted[i][None, None])[0, 0]
        torch.testing.assert_close(at, wanted[j] - wanted[i], **NEAR)


def test_everything_fits_another_grid_and_can_be_saved(tmp_path):
    for grid in (TokenGrid(7, 6, 13), TokenGrid(3, 4, 4)):
        motion = motion_size.fit_to(noisy(), grid)
        motion.save(tmp_path / "m.safetensors")
        loaded = MotionEmbedding.load(tmp_path / "m.safetensors")
        assert loaded.grid == grid and loaded.about == noisy().about
        for after, before in zip(tensors_of(loaded), tensors_of(motion), strict=True):
            torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_no_field_leaves_a_smaller_frame():
    far = torch.full((12, 9, 10, 2), 8.0)
    motion = made(far, static_bias=(far,), frame_flow=far[:8].reshape(2, 4, 9, 10, 2))
    small = motion_size.fit_to(motion, TokenGrid(5, 1, 2))
    for field in (small.static_bias[0], small.frame_flow):
        assert field.abs().amax(tuple(range(field.ndim - 1))).tolist() == [1, 0]


def test_how_large_a_change_of_size_is():
    assert motion_size.size_change(disc(), GRID) == 1
    assert motion_size.size_change(disc(), TokenGrid(10, 9, 10)) == 2
    assert motion_size.size_change(disc(), TokenGrid(5, 3, 10)) == pytest.approx(3)


def test_blending_by_weight_and_by_mask():
    first, second = disc(), made(torch.ones(12, 9, 10, 2), frame_flow=torch.zeros(2, 4, 9, 10, 2))
    assert torch.equal(motion_blend.blend(first, second, 0.0).flows[0].displacement, first.flows[0].displacement)
    assert torch.equal(motion_blend.blend(first, second, 1.0).flows[0].displacement, second.flows[0].displacement)
    right = torch.zeros(GRID.as_tuple)
    right[:, :, 5:] = 1
    both = motion_blend.blend(first, second, right).flows[0].displacement
    assert torch.equal(both[:, :, :5], first.flows[0].displacement[:, :, :5])
    assert torch.equal(both[:, :, 5:], second.flows[0].displacement[:, :, 5:])


def test_a_blend_is_cut_where_what_it_shows_is_cut():
    first, second = replace(disc(), cuts=(2,)), replace(disc(), cuts=(3,))
    whole = torch.zeros(GRID.as_tuple)
    part = whole.clone()
    part[:, :, 5:] = 1
    shares = {0.0: (2,), 1.0: (3,), 0.5: (2, 3)}
    assert {share: motion_blend.blend(first, second, share).cuts for share in shares} == shares
    masks = [(whole, (2,)), (whole + 1, (3,)), (part, (2, 3))]
    assert [motion_blend.blend(first, second, mask).cuts for mask, _ in masks] == [cuts for _, cuts in masks]


def test_blending_fits_the_second_to_the_first_and_refuses_another_model():
    other = replace(disc(), fingerprint=replace(FINGERPRINT, dim=512))
    with pytest.raises(ValueError, match="motion_b: expected dim 256, as in motion_a, got dim 512; read both"):
        motion_blend.blend(disc(), other, 0.5)
    with pytest.raises(ValueError, match="weight: expected a finite number from 0 to 1, got 2"):
        motion_blend.blend(disc(), disc(), 2.0)
    longer = motion_size.fit_to(disc(), TokenGrid(9, 6, 6))
    assert motion_blend.blend(disc(), longer, 0.5).grid == GRID


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sharpness": 2.0}, "expected sharpness 1.0, as in motion_a, got 2.0"),
        ({"window": None}, "expected window 5, as in motion_a, got None"),
        ({"window": 7}, "expected window 5, as in motion_a, got 7"),
        ({"centre": "argmax"}, "expected centre self, as in motion_a, got argmax"),
    ],
)
def test_blending_refuses_vectors_that_mean_something_else(change, said):
    first = replace(disc(), config=replace(disc().config, window=5))
    other = replace(first, config=replace(first.config, **change))
    with pytest.raises(ValueError, match=f"motion_b: {said}; read both alike"):
        motion_blend.blend(first, other, 0.5)
    elsewhere = motion_size.fit_to(first, TokenGrid(5, 18, 20))
    assert elsewhere.config.window != 5
    assert motion_blend.blend(first, elsewhere, 0.5).grid == GRID
    with pytest.raises(ValueError, match=r"motion_b: expected sigmas \(.*\), as in motion_a, got \(0.9,\)"):
        motion_blend.blend(first, replace(first, sigmas=(0.9,)), 0.5)


def test_masks_are_carried_and_multiply():
    mask = torch.zeros(GRID.as_tuple)
    mask[:, :, :5] = 1
    motion = motion_blend.masked(disc(), mask)
    assert torch.equal(motion_edit.mirror(motion).mask, mask.flip(2))
    half = motion_blend.masked(motion, torch.full(GRID.as_tuple, 0.5))
    assert torch.equal(half.mask, mask * 0.5)
    with pytest.raises(ValueError, match="mask: expected some area that is guided"):
        motion_blend.masked(motion, 1 - mask)
    with pytest.raises(ValueError, match=r"mask: expected finite numbers of shape \(5, 9, 10\)"):
        motion_blend.masked(motion, mask[:1])


def test_masks_of_pictures_fit_the_tokens():
    picture = torch.zeros(90, 100)
    picture[:, :50] = 1
    small = motion_blend.token_mask(picture, GRID)
    assert small.shape == GRID.as_tuple
    assert bool((small[:, :, :4] > 0.99).all()) and bool((small[:, :, 6:] < 0.01).all())
    soft = motion_blend.token_mask(picture, GRID, feather=2.0)
    assert bool((soft.diff(dim=2) <= 1e-6).all()) and 0.05 < float(soft[0, 0, 6]) < 0.45
    moving = torch.stack([torch.full((9, 10), float(time)) / 16 for time in range(17)])
    torch.testing.assert_close(
        motion_blend.token_mask(moving, GRID)[:, 0, 0], torch.linspace(0, 1, 5), atol=0.01, rtol=0
    )


@pytest.mark.parametrize(("factor", "edit"), [(-1.0, motion_edit.amplify), (0.0, motion_edit.change_speed)])
def test_bad_factors_are_refused(factor, edit):
    with pytest.raises(ValueError, match="expected a .*number"):
        edit(disc(), factor)


def test_a_disc_is_followed_through_a_latent():
    generator = torch.Generator().manual_seed(0)
    path = torch.tensor([[5.0, 8], [8, 9], [11, 10], [13, 12], [14, 14]])
    y, x = torch.meshgrid(torch.arange(18), torch.arange(20), indexing="ij")
    frames = torch.randn(16, 1, 18, 20, generator=generator).expand(-1, 5, -1, -1) * 0.3
    look = torch.randn(16, generator=generator)
    inside = torch.stack([(x - px) ** 2 + (y - py) ** 2 <= 9 for px, py in path])
    latent = torch.where(inside, look[:, None, None, None], frames)[None]
    steps = latent_steps(latent, GRID, TrajectoryConfig())
    positions = trajectories(steps)
    tokens = (path + 0.5) / 2 - 0.5
    for time in range(5):
        at = sampled(positions[2, time], tokens[2][None, None])[0, 0]
        assert float((at - tokens[time]).norm()) < 0.5
    # Where nothing moves, nothing does.
    assert float(steps[:, :, :2].abs().max()) < 0.25
    torch.testing.assert_close(camera_path(steps), torch.zeros(5, 2), atol=0.1, rtol=0)


def test_splatting_keeps_what_it_puts_down():
    field = torch.rand(4, 5, 2, generator=torch.Generator().manual_seed(1))
    cover, total, summed = splat(field, token_positions(4, 5) + torch.tensor([0.25, 0]), torch.ones(4, 5))
    torch.testing.assert_close(summed[:, 1:], 0.75 * field[:, 1:] + 0.25 * field[:, :-1])
    torch.testing.assert_close(cover, total)
    assert float(cover[0, 0]) == 0.75


def filmed(path=(5.0, 8.0), step=(2.0, 1.0)):
    """A motion that keeps its latent: a disc on a line before a textured background; and the disc's way on it."""
    generator = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(18), torch.arange(20), indexing="ij")
    way = torch.tensor(path) + torch.arange(5)[:, None] * torch.tensor(step)
    back = 0.3 * torch.randn(16, 1, 18, 20, generator=generator).expand(-1, 5, -1, -1)
    look = torch.randn(16, generator=generator)[:, None, None, None]
    inside = torch.stack([(x - px) ** 2 + (y - py) ** 2 <= 6 for px, py in way])
    latent = torch.where(inside, look, back)[None].contiguous()
    return replace(made(torch.zeros(12, 9, 10, 2)), reference=latent), way, look


def seen_way(latent, look):
    """(F, 2): where a latent shows the disc, as the centre of what looks like it."""
    likeness = (-(latent[0] - look).square().mean(0) / 0.1).exp()
    y, x = torch.meshgrid(torch.arange(latent.shape[3]), torch.arange(latent.shape[4]), indexing="ij")
    total = likeness.sum((1, 2))
    return torch.stack(((likeness * x).sum((1, 2)) / total, (likeness * y).sum((1, 2)) / total), 1)


def test_the_latent_is_edited_along():
    motion, way, look = filmed()
    middle = way.mean(0)
    wanted = {
        "mirror": (motion_edit.mirror, way * torch.tensor([-1.0, 1]) + torch.tensor([19.0, 0])),
        "reverse": (motion_edit.reverse, way.flip(0)),
        "damp": (lambda each: motion_edit.amplify(each, 0.5), middle + 0.5 * (way - middle)),
        "amplify": (lambda each: motion_edit.amplify(each, 1.5), middle + 1.5 * (way - middle)),
        "slow": (lambda each: motion_edit.change_speed(each, 0.5), way[0] + 0.5 * (way - way[0])),
        "hold": (lambda each: motion_edit.freeze(each, 0, 4), way[:1].expand(5, 2)),
    }
    for edit, expected in wanted.values():
        edited = edit(motion)
        # Half a pixel of the latent is a quarter of a token.
        torch.testing.assert_close(seen_way(edited.reference, look), expected, atol=0.5, rtol=0)
        assert edited.reference_hash.startswith("made|")
    longer = motion_size.fit_to(motion, TokenGrid(9, 9, 10))
    times = torch.arange(9)[:, None] / 2
    torch.testing.assert_close(seen_way(longer.reference, look), way[0] + times * (way[1] - way[0]), atol=0.5, rtol=0)
    assert motion_size.fit_to(motion, TokenGrid(5, 12, 15)).reference.shape == (1, 16, 5, 24, 30)


def test_what_an_edit_leaves_bare_shows_the_background():
    motion, way, look = filmed()
    shown = motion_edit.amplify(motion, 0.5).reference[0, :, 0]
    x, y = way[0].long().tolist()
    background, look = motion.reference[0, :, -1], look[:, 0, 0, 0]
    for place in ((y, x - 1), (y - 1, x), (y - 1, x - 1)):
        here = shown[:, place[0], place[1]]
        # The noise of the texture is smoothed by what is laid over it; the disc is gone.
        assert float((here - background[:, place[0], place[1]]).norm()) < 0.5 * float((here - look).norm())


def test_nothing_is_followed_across_a_cut():
    motion, _, _ = filmed()
    whole, cut = (motion_fields.frame_flow_of(replace(motion, cuts=cuts)) for cuts in ((), (2,)))
    assert bool((cut[:, 1] == 0).all()) and float(whole[:, 1].abs().max()) > 0.5
    assert torch.equal(cut[:, [0, 2, 3]], whole[:, [0, 2, 3]])
    vectors = disc()
    assert bool((motion_fields.frame_flow_of(replace(vectors, frame_flow=None, cuts=(1,)))[:, 0] == 0).all())


def test_a_motion_that_compares_no_frames_can_be_edited():
    config = AMFConfig(temporal_span=1, window=5, tile=(3, 5))
    motion = made(torch.zeros(5, 9, 10, 2), config=config)
    for edit in (motion_edit.mirror, motion_edit.reverse, lambda each: motion_edit.amplify(each, 2.0)):
        assert edit(motion).flows[0].pairs == motion.flows[0].pairs
