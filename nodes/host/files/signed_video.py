"""Video files written with their origin, and read for it. Trap: the host serves all of user/default to the page, so
private keys lie in a folder of user/ whose name begins with two underscores, which it does not."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy.cli_args import args
from comfy_api.latest import Input, InputImpl, Types, io, ui
from PIL import Image, ImageSequence

from ....fastvmt_core.motion.file_names import COUNTED, inside
from ....fastvmt_core.provenance import credentials
from ....fastvmt_core.provenance.mark import Mark, read_mark, with_mark
from .pages import encodable
from .video import Size, read_video

TEST = "test certificate"
"""The choice that needs no file."""
UNMARKED = -1
ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm", ".webp")
"""Of files that can be checked."""
_SAMPLE, _RATE, _MOST = Size(256, 256, "stretch"), 16.0, 128
"""What a mark is looked for in: the size that its reader brings frames to anyhow, frames per second, and frames."""


def certificate_folder() -> Path:
    """Where a user puts certificates and their keys."""
    return Path(folder_paths.get_system_user_directory("fastvmt")) / "certificates"


def signer(name: str) -> Any:  # noqa: ANN401
    """Who signs, as `credentials.signer_of`."""
    return credentials.made_signer() if name == TEST else credentials.signer_of(certificate_folder(), name)


def save(
    video: Input.Video, prefix: str, kind: str, number: int, node: type[io.ComfyNode]
) -> tuple[ui.SavedResult, bool]:
    """Write a video into the output folder as the host does, the workflow in it unless the host was started without.

    Returns also whether its mark can be read in the file.

    Args:
        video: what to write.
        prefix: folders and beginning of the name.
        kind: "mp4" or "webp".
        number: the mark; UNMARKED for none.
        node: the node that runs.

    Raises:
        ValueError: the name leaves the folder, or the frames cannot hold a mark.
    """
    inside("filename_prefix", Path(folder_paths.get_output_directory()), prefix, COUNTED)
    if number != UNMARKED or kind == "mp4" and any(side % 2 for side in video.get_dimensions()):
        parts = video.get_components()
        images = encodable("video", parts.images) if kind == "mp4" else parts.images[..., :3]
        images = images if number == UNMARKED else with_mark(images, number)
        video = InputImpl.VideoFromComponents(dataclasses.replace(parts, images=images))
    if kind == "webp":
        parts = video.get_components()
        given = {"fps": float(parts.frame_rate), "lossless": False, "quality": 90, "method": 4}
        saved = ui.ImageSaveHelper.save_animated_webp(parts.images, prefix, io.FolderType.output, node, **given)
    else:
        place = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory(), *video.get_dimensions())
        saved = ui.SavedResult(f"{place[1]}_{place[2]:05}_.mp4", place[3], io.FolderType.output)
        written = {} if args.disable_metadata else {**(node.hidden.extra_pnginfo or {}), "prompt": node.hidden.prompt}
        mp4 = {"format": Types.VideoContainer.MP4, "codec": Types.VideoCodec.H264, "metadata": written or None}
        video.save_to(str(path_of(saved)), **mp4)
    try:
        mark = None if number == UNMARKED else _mark_of(path_of(saved))
    except BaseException:
        # A cancel: what is unsigned is not left behind.
        path_of(saved).unlink()
        raise
    return saved, mark is not None and mark.found and mark.number == number


def path_of(saved: ui.SavedResult) -> Path:
    """The file that was saved."""
    return Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]


def uploads() -> list[str]:
    """Names of the files in the input folder that can be checked."""
    files = Path(folder_paths.get_input_directory()).glob("*")
    # A pipe would never end.
    return sorted(path.name for path in files if path.suffix.lower() in ENDINGS and path.is_file())


def checked(file: str) -> tuple[dict[str, Any], Mark | None]:
    """The credentials (state "unread" without the package) and the mark (None: no frame can be read) of an upload.

    Raises:
        ValueError: there is no such file.
    """
    if file not in uploads():
        raise ValueError(f"file: expected a file in input/ ({', '.join(ENDINGS)}), got {file!r:.200}; upload it.")
    path = Path(folder_paths.get_input_directory()) / file
    try:
        with path.open("rb") as opened:
            found = credentials.credentials_of(opened)
    except ImportError as error:
        found = {"state": "unread", "problems": [str(error)]}
    return found, _mark_of(path)


def _mark_of(path: Path) -> Mark | None:
    try:
        return read_mark(_sample_of(path))
    except (ValueError, OSError, Image.DecompressionBombError):
        return None


def _sample_of(path: Path) -> torch.Tensor:
    """(T, H, W, 3) in [0, 1]: the first seconds of a video, its frames made small, for reading a mark."""
    if path.suffix.lower() != ".webp":
        return read_video(InputImpl.VideoFromFile(str(path)), _RATE, _MOST, _SAMPLE).frames
    frames = itertools.islice(ImageSequence.Iterator(Image.open(path)), _MOST)
    small = [np.asarray(frame.convert("RGB").resize((_SAMPLE.width, _SAMPLE.height))) for frame in frames]
    return torch.from_numpy(np.stack(small)).float() / 255
