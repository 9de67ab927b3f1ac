"""The table of families: each kind of Wan is accepted by one row, and a refusal names what each row misses."""

import pytest
import torch

from tools.host import made_families
from tools.host.made_models import KINDS, has_kind, wan_network


# Animate 2 attends frame by frame, and is refused.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "animate2"])
def test_one_row_accepts_each_kind(pack, kind):
    if not has_kind(kind):
        pytest.skip(f"this host has no {kind}")
    network = wan_network(kind)
    accepting = [family for family in pack("nodes.host.models.families").FAMILIES if not family.missing_parts(network)]
    assert [family.name for family in accepting] == ["Wan"]
    sizes = accepting[0].sizes(network)
    dim, heads, depth = (KINDS[kind].get(*each) for each in (("dim", 256), ("num_heads", 2), ("num_layers", 4)))
    assert (sizes.dim, sizes.ffn_dim, sizes.heads, sizes.depth, sizes.patch) == (dim, 512, heads, depth, (1, 2, 2))
    side = [(side.beside, side.block.module) for side in accepting[0].side_blocks(network)]
    assert side == ([(0, network.vace_blocks[0]), (2, network.vace_blocks[1])] if kind == "vace" else [])


class WithoutHeads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
        self.patch_size = (1, 2, 2)


@pytest.mark.parametrize(
    ("network", "missing"),
    [
        (
            torch.nn.Linear(1, 1),
            r"got Linear \(Wan: no blocks; LTX-Video: no transformer_blocks; LTX-2: no transformer_blocks; "
            r"Hunyuan Video: no double_blocks; Cosmos Predict 2: no blocks; Mochi: no blocks; "
            r"Cosmos 1: no blocks by name; Kandinsky 5: no visual_transformer_blocks\)",
        ),
        (WithoutHeads(), r"got WithoutHeads \(Wan: no num_heads, dim, self_attn in its blocks; LTX"),
    ],
)
def test_a_refusal_names_what_is_missing(pack, network, missing):
    with pytest.raises(ValueError, match=f"model: expected a native video model of a known family.*{missing}"):
        pack("nodes.host.models.families").family_of(network)


def test_a_network_that_attends_frame_by_frame_is_refused(pack, comfyui):
    """WanAnimate2; on a host without it, a network that has its self-attention in form."""
    try:
        from comfy.ldm.wan.model_animate2 import WanAnimate2Model
    except ImportError:
        network = wan_network("t2v")
        network.blocks[0].self_attn.forward_pose = network.blocks[0].self_attn.forward
    else:
        sizes = {"dim": 256, "ffn_dim": 512, "num_heads": 2, "num_layers": 1}
        network = WanAnimate2Model(**sizes, device="meta", dtype=torch.float32, operations=torch.nn)
    with pytest.raises(ValueError, match=r"\(Wan: no self-attention over all frames at once; LTX"):
        pack("nodes.host.models.families").family_of(network)


def test_minimax_h3_is_refused_by_its_name(pack, comfyui):
    """On a host without it, a network that has its parts."""
    try:
        from comfy.ldm.minimax.model import MiniMaxH3Model
    except ImportError:
        network = torch.nn.Module()
        network.video_patch_proj = network.audio_patch_proj = torch.nn.Identity()
    else:
        sizes = {"hidden_size": 256, "num_layers": 1, "token_refiner_num_layers": 1, "num_attention_heads": 2}
        network = MiniMaxH3Model(**sizes, device="meta", dtype=torch.float32, operations=torch.nn)
    with pytest.raises(ValueError, match="got MiniMax H3, which is not guided: its latent frames hold 1, 4, 4, 4 and"):
        pack("nodes.host.models.families").family_of(network)


def test_networks_of_images_are_refused(pack, comfyui):
    """Their classes are those of Cosmos Predict 2 and Kandinsky 5; on a host without them, networks of their form."""
    family_of = pack("nodes.host.models.families").family_of
    predict2 = made_families.network("predict2")
    assert family_of(predict2).name == "Cosmos Predict 2"
    predict2.llm_adapter = torch.nn.Identity()
    with pytest.raises(ValueError, match="Cosmos Predict 2: no network of videos"):
        family_of(predict2)
    if made_families.has_kind("kandinsky5"):
        kandinsky = made_families.network("kandinsky5")
        assert family_of(made_families.network("kandinsky5")).name == "Kandinsky 5"
        kandinsky.visual_embed_dim = kandinsky.in_visual_dim
        with pytest.raises(ValueError, match="Kandinsky 5: no input for a start image"):
            family_of(kandinsky)


def test_ltxvs_guide_frames_are_refused(pack):
    (ltxv,) = [family for family in pack("nodes.host.models.families").FAMILIES if family.name == "LTX-Video"]
    guides = type("Cond", (), {"cond": torch.zeros(1, 3, 16)})
    with pytest.raises(ValueError, match="positive: expected no guide frames of LTXV Add Guide"):
        ltxv.leading_frames(None, [{"model_conds": {"keyframe_idxs": guides}}])
    assert ltxv.leading_frames(None, [{"model_conds": {}}]) == 0
