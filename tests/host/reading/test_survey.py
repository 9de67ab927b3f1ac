"""Find Block on the demo's model: what it measures, what it proposes, and what it refuses."""

import json

import pytest
import torch

from tools.train.clips import make_clip

WIDGETS = {"sigmas": "0.3", "width": 128, "height": 128, "length": 17, "seed": 0, "blocks": "all"}


@pytest.fixture
def find(pack, tiny_model, vae, prompt):
    """Find Block's execute with everything but what a test changes."""
    node = pack("nodes.find_block").FastVMTFindBlock

    def execute(**changes):
        with torch.inference_mode():
            return node.execute(tiny_model, vae, prompt, **{**WIDGETS, **changes}).args

    return execute


def test_it_proposes_one_of_the_later_blocks_which_carry_the_motion(find):
    block, sigma, picture, report = find()
    found = json.loads(report)
    assert found["blocks"] == [0, 1, 2, 3, 4, 5]
    assert sigma == 0.3
    # The first blocks look at layout; the same table was found with other clips when the model was first trained.
    assert block >= 2
    assert min(found["ratios"][0]) < 0.5 < found["ratios"][0][0]
    assert picture.shape[0] == 1
    assert picture.shape[-1] == 3
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


@pytest.mark.slow
def test_every_second_block_and_a_clip_of_the_user_s(find):
    frames = torch.from_numpy(make_clip(12, "yellow", "star", "stripes").frames)
    _, _, _, report = find(blocks="every 2nd", reference=frames)
    assert json.loads(report)["blocks"] == [0, 2, 4]


@pytest.mark.slow
def test_what_it_shows_leaves_the_model_as_it_was(find, tiny_model):
    before = dict(tiny_model.model_options["transformer_options"])
    find(blocks="every 4th", length=5)
    assert tiny_model.model_options["transformer_options"] == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sigmas": "0.3, two"}, "^sigmas: expected noise levels"),
        ({"sigmas": ""}, "^sigmas: expected noise levels"),
        ({"reference": torch.zeros(4, 128, 128, 3)}, "^reference: expected a clip of at least 5 frames, got 4"),
        pytest.param(
            {"reference": torch.zeros(17, 128, 128, 3)}, "^reference: expected clips that move", marks=pytest.mark.slow
        ),
    ],
)
def test_bad_input_is_refused_by_its_name(find, changes, says):
    with pytest.raises(ValueError, match=says):
        find(**{"blocks": "every 4th", **changes})


def test_the_made_up_clips_have_a_length_that_the_vae_takes(pack):
    """LTX-Video's has eight frames of video in a latent frame."""
    make, config = pack("nodes.find_block")._clips, pack("fastvmt_core.config").SurveyConfig
    assert {len(clip) for motion in make(config(length=21), 0, None, 8) for clip in motion} == {17}
    with pytest.raises(ValueError, match="^length: expected at least 9 frames, got 5; raise it"):
        make(config(length=5), 0, None, 8)
