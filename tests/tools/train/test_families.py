"""The tiny networks of families beside Wan: their latents, and that training sees what the host samples."""

import importlib

import pytest
import torch

from tools.host import made_families


@pytest.fixture(scope="module")
def families(comfyui):
    return importlib.import_module("tools.train.families")


@pytest.fixture(params=["ltxv", "hunyuan15"])
def kind(families, request):
    return families.KINDS[request.param]


def latents(seed=0):
    """(8, 16, 2, 4, 4) whose tokens of 64 values vary along 20 directions."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(8, 2, 2, 2, 20, generator=generator) @ torch.randn(20, 64, generator=generator)
    return values.unflatten(-1, (16, 2, 2)).permute(0, 4, 1, 2, 5, 3, 6).reshape(8, 16, 2, 4, 4)


def test_what_the_tokens_hold_survives_the_familys_channels(families, kind):
    given = latents()
    channels = families.channel_map(given, kind.latent_channels)
    turned = families.to_channels(given, channels)
    assert turned.shape == (8, kind.latent_channels, 2, 2, 2)
    torch.testing.assert_close(turned.std(), torch.tensor(1.0), atol=0.05, rtol=0)
    # 20 directions fit into 32 channels, too. Float32 of order 10.
    torch.testing.assert_close(families.of_channels(turned, channels), given, atol=1e-3, rtol=0)


def test_training_predicts_what_the_host_samples_with(families, kind):
    generator = torch.Generator().manual_seed(1)
    weights = families.first_weights(kind)
    for value in weights.values():
        # The parts that start at zero take part as well.
        value += 0.02 * torch.randn(value.shape, generator=generator)
    model = made_families.loaded_of(kind, weights)
    x = torch.randn(2, kind.latent_channels, 2, 4, 4, generator=generator)
    sigma, text = torch.tensor([0.3, 0.9]), torch.stack([families.features(words) for words in ("red ring plain", "")])
    concat = model.model.concat_cond(noise=x, device=x.device)
    given = {"c_crossattn": text, "attention_mask": None} | ({} if concat is None else {"c_concat": concat})
    with torch.no_grad():
        mine = families.velocity(model, x, sigma, text)
        denoised = model.model.apply_model(x, sigma, **given)
    level = sigma[:, None, None, None, None]
    # In bfloat16, where the machine has it: 8 bits.
    torch.testing.assert_close(mine, (x - denoised) / level, atol=0.05, rtol=0.05)


def test_a_few_steps_lower_the_loss_and_leave_the_host_as_it_was(families, kind):
    import comfy.ldm.common_dit as common
    import comfy.ldm.modules.attention as attention

    before = common.rms_norm, attention.optimized_attention
    model = made_families.loaded_of(kind, families.first_weights(kind))
    network = model.model.diffusion_model.requires_grad_(True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    latent = torch.randn(4, kind.latent_channels, 2, 4, 4, generator=torch.Generator().manual_seed(2))
    prompts, training, losses = ["red circle plain"] * 4, families.FamilyTraining(steps=1, batch=4), []
    with families.trainable(network):
        for _ in range(6):
            loss = families.loss(model, latent, prompts, training, 0).value
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert (common.rms_norm, attention.optimized_attention) == before
