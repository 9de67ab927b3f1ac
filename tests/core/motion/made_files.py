"""Motions for the tests of their file, and changes to such files."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import torch
from safetensors.torch import load_file, save_file

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion import file as motion_file
from fastvmt_core.motion.about import About
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.fingerprint import ModelFingerprint, hash_of_reference

CONFIG = AMFConfig(temporal_span=2, window=3, tile=(2, 3), sharpness=2.0, centre="argmax")
FINGERPRINT = ModelFingerprint("WAN21", dim=256, heads=2, depth=6, block=3, latent_channels=16)


def a_flow(seed):
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, 3, 4, 5, 2, 4, generator=generator).unbind()
    return attention_motion_flow(q, k, CONFIG, window_keys=False)


def a_motion(reference=True, dtype=torch.float32):
    latent = torch.randn(1, 16, 3, 8, 10, generator=torch.Generator().manual_seed(9)).to(dtype)
    return MotionEmbedding(
        flows=(a_flow(1), a_flow(2)),
        sigmas=(0.3, 0.9),
        grid=TokenGrid(3, 4, 5),
        config=CONFIG,
        seed=2**64 - 1,
        fingerprint=FINGERPRINT,
        reference=latent if reference else None,
        reference_hash=hash_of_reference(latent),
    )


def parts(path):
    """The file's JSON index (with its metadata) and its data."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def rewrite(path, index, data):
    text = json.dumps(index).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def header_of(path):
    return json.loads(parts(path)[0]["__metadata__"]["fastvmt"])


def edit_header(path, change):
    index, data = parts(path)
    header = json.loads(index["__metadata__"]["fastvmt"])
    change(header)
    index["__metadata__"]["fastvmt"] = json.dumps(header)
    rewrite(path, index, data)


def edit_tensors(path, change):
    index, _ = parts(path)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=index["__metadata__"])


def sign_again(path, change):
    """Change tensors and give the file the checksum of what it holds then."""
    header, tensors = header_of(path), load_file(path)
    change(tensors)
    header["checksum"] = motion_file.checksum(header, tensors)
    save_file(tensors, path, metadata={"fastvmt": json.dumps(header)})


def everything():
    """A motion that holds whatever a motion can hold."""
    motion = a_motion()
    fields = tuple(flow.displacement / 2 for flow in motion.flows)
    return replace(
        motion,
        static_bias=fields,
        backward=fields[::-1],
        half_displacement=tuple(field[:, :2, :3] / 4 for field in fields),
        half_centres=(torch.ones(len(fields[0]), 1, 2), torch.zeros(len(fields[0]), 1, 2)),
        frame_flow=torch.zeros(2, 2, 4, 5, 2),
        mask=torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(2)),
        about=About("walk", "to the left\nslowly", 832, 480, 23.976),
        thumbnail=torch.arange(60, dtype=torch.uint8).reshape(4, 5, 3),
        cuts=(2,),
    )


def with_flow(**changes):
    return {"flows": (replace(a_flow(1), **changes), a_flow(2))}
