"""Pages and videos as files. Trap: the host's page does not open HTML from the output folder, only its own extension
does, so where the file lies is given both as a path and as the host's pages name it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import folder_paths
import torch
from comfy_api.latest import Input, Types

from ....fastvmt_core.motion.file_names import COUNTED, inside


@dataclass(frozen=True)
class SavedPage:
    """Where a page was written."""

    path: Path
    shown: dict[str, str]
    """File name, folder and type, as the host's /view takes them."""


def encodable(name: str, frames: torch.Tensor) -> torch.Tensor:
    """Frames (T, H, W, 3): no alpha, and no last row and column that H.264, whose sides are even, has no room for.

    Raises:
        ValueError: none would be left; `name` is the input.
    """
    _, height, width, _ = frames.shape
    if min(height, width) < 2:
        raise ValueError(f"{name}: expected at least 2 x 2 pixels, got {width} x {height}; make a larger video.")
    return frames[:, : height // 2 * 2, : width // 2 * 2, :3]


def mp4_of(video: Input.Video) -> bytes:
    """The bytes of a video as an MP4 file, H.264, without a workflow in it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        video.save_to(str(path), format=Types.VideoContainer.MP4, codec=Types.VideoCodec.H264)
        return path.read_bytes()


def save(page: str, prefix: str) -> SavedPage:
    """Write a page into the output folder under a name of its own, which begins with `prefix`.

    Raises:
        ValueError: the name leaves the folder.
    """
    output = Path(folder_paths.get_output_directory())
    inside("filename_prefix", output, prefix, COUNTED)
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, str(output))
    path = Path(folder) / f"{name}_{counter:05}_.html"
    # A lone surrogate, as JSON can hold one, becomes a question mark.
    path.write_bytes(page.encode("utf-8", "replace"))
    return SavedPage(path, {"filename": path.name, "subfolder": subfolder, "type": "output"})
