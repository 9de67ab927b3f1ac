"""The larger model's language: one fixed vector for each word of a scene's prompt, and padding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from fastvmt_core.tiny_prompt import WIDTH, feature

LENGTH = 10
"""Vectors of every prompt: those of its words, then zeros, as in Wan's own. All prompts then fit in one batch."""


def encode(prompts: Sequence[str]) -> torch.Tensor:
    """(B, LENGTH, WIDTH) float32 of prompts as scenes have them; a blank one is the null prompt."""
    return torch.stack([_encoded(prompt) for prompt in prompts])


@lru_cache(maxsize=4096)
def _encoded(prompt: str) -> torch.Tensor:
    words = [word for word in prompt.split() if word != "and"]
    vectors = [_word(word) for word in (["<s>", *words] if words else ["<null>"])]
    return torch.stack(vectors + [torch.zeros(WIDTH)] * (LENGTH - len(vectors)))


_word = lru_cache(feature)
