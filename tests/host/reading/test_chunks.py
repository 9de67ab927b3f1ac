"""A long reference is read in chunks: each as if it were alone, and joined."""

import pytest
import torch

from tests.host.runs import noise

GRID = (9, 4, 4)
BLOCK = 2
CHUNK = 17
"""Frames: five of the latent."""


@pytest.fixture
def invert(pack, tiny_model, empty_prompt):
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    methods = pack("fastvmt_core.objectives.registry").METHODS

    def read(latent=None, model=tiny_model, cuts="ignore", objective="FastVMT", **given):
        latent = noise(1, GRID) if latent is None else latent
        with torch.inference_mode():
            return pack("nodes.host.reading.inversion").invert_motion(
                model, latent, empty_prompt, config, (BLOCK,), (0.3,), 5, cuts, objective=methods[objective], **given
            )

    return read


def test_a_clip_of_the_usual_length_is_read_at_once(invert):
    whole, again = invert(chunk_length=0), invert()
    assert torch.equal(whole.flows[0].displacement, again.flows[0].displacement)


def test_every_chunk_is_read_alone_and_joined(pack, invert, monkeypatch):
    import comfy.sample

    motion = invert(chunk_length=CHUNK)
    assert motion.grid.as_tuple == GRID and motion.reference.shape[2] == 9
    assert torch.equal(motion.reference, invert(chunk_length=0).reference)
    # Chunks of five latent frames that share two: 0 to 4, 3 to 7, 4 to 8.
    whole = comfy.sample.prepare_noise(noise(1, GRID), 5)
    for start, mine in ((0, (0, 1)), (3, (5, 6)), (4, (7, 8))):
        part = slice(start, start + 5)
        monkeypatch.setattr(comfy.sample, "prepare_noise", lambda *_, part=part: whole[:, :, part])
        alone = invert(noise(1, GRID)[:, :, part])
        row, own = motion.flows[0].pairs.index(mine), alone.flows[0].pairs.index(tuple(each - start for each in mine))
        # The same float32 operations.
        assert torch.allclose(motion.flows[0].displacement[row], alone.flows[0].displacement[own], atol=1e-5)
        assert torch.allclose(motion.static_bias[0][row], alone.static_bias[0][own], atol=1e-5)
        monkeypatch.undo()


def test_cuts_are_found_and_kept_in_every_chunk(invert):
    assert invert(cuts=(2, 6), chunk_length=CHUNK).cuts == (2, 6)
    assert isinstance(invert(cuts="detect", chunk_length=CHUNK).cuts, tuple)


def test_a_model_with_context_windows_reads_by_their_length(pack, tiny_model, invert):
    from tests.host.sampling.test_windows import handler, windowed

    model = windowed(tiny_model, handler(length=5, overlap=1))
    read, chunked = invert(model=model), invert(chunk_length=CHUNK)
    assert torch.equal(read.flows[0].displacement, chunked.flows[0].displacement)


def test_windows_shorter_than_the_span_are_read_by_the_span(pack, tiny_model, invert):
    from tests.host.sampling.test_windows import handler, windowed

    windows = handler(length=2, overlap=1)
    read, chunked = invert(model=windowed(tiny_model, windows)), invert(chunk_length=9)
    assert torch.equal(read.flows[0].displacement, chunked.flows[0].displacement)
    # The model's own are as they were.
    assert windows.context_length == 2


def test_an_objective_of_the_whole_clip_is_read_at_once(pack, tiny_model, invert):
    from tests.host.sampling.test_windows import handler, windowed

    whole = invert(objective="SMM", chunk_length=0).targets[0]["mean"]
    assert torch.equal(invert(objective="SMM", chunk_length=CHUNK).targets[0]["mean"], whole)
    model = windowed(tiny_model, handler(length=5))
    assert torch.equal(invert(model=model, objective="SMM").targets[0]["mean"], whole)


def test_chunks_that_hold_no_pairs_are_refused(invert):
    with pytest.raises(ValueError, match="chunk_length: expected 0 or at least 9 frames with a temporal_span of 2"):
        invert(chunk_length=5)
