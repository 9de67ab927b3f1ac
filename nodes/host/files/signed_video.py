"""Video files written with their origin, and read for it. Trap: the host serves all of user/default to the page, so
private keys lie in a folder of user/ whose name begins with two underscores, which it does not."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import folder_paths
import numpy as np
import torch
from comfy.cli_args import args
from comfy_api.latest import Input, InputImpl, Types, io, ui
from PIL import Image, ImageSequence

from ....fastvmt_core.motion.file_names import inside
from ....fastvmt_core.provenance import credentials
from ....fastvmt_core.provenance.mark import Mark, read_mark, with_mark
from .video import Size, read_video

TEST, CONNECTED = "test certificate", "connected video"
"""The choices that need no file."""
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
    video: Input.Video,
    prefix: str,
    kind: str,
    number: int,
    node: type[io.ComfyNode],
    seal: Callable[[Path, Path], None],
) -> ui.SavedResult:
    """Write a video into the output folder, named as the host's Save Video names it.

    Args:
        video: what to write.
        prefix: folders and beginning of the name.
        kind: "mp4" or "webp".
        number: the mark; UNMARKED for none.
        node: the node that runs, whose workflow goes into the file.
        seal: makes the second file, the one that is kept, from the first.

    Raises:
        ValueError: the name leaves the folder.
    """
    output, temporary = Path(folder_paths.get_output_directory()), Path(folder_paths.get_temp_directory())
    inside("filename_prefix", output, prefix)
    if number != UNMARKED:
        parts = video.get_components()
        changed = dataclasses.replace(parts, images=with_mark(parts.images[..., :3], number))
        video = InputImpl.VideoFromComponents(changed)
    size = video.get_dimensions()
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, str(output), *size)
    target = f"{name}_{counter:05}_.{kind}"
    temporary.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=temporary) as apart:
        unsigned = Path(apart) / f"video_00001_.{kind}"
        _WRITERS[kind](video, unsigned, node)
        seal(unsigned, Path(folder) / target)
    return ui.SavedResult(target, subfolder, io.FolderType.output)


def _write_mp4(video: Input.Video, path: Path, node: type[io.ComfyNode]) -> None:
    """As Save Video writes it, with the workflow in it unless the host was started without."""
    written = {} if args.disable_metadata else {**(node.hidden.extra_pnginfo or {}), "prompt": node.hidden.prompt}
    video.save_to(str(path), format=Types.VideoContainer.MP4, codec=Types.VideoCodec.H264, metadata=written or None)


def _write_webp(video: Input.Video, path: Path, node: type[io.ComfyNode]) -> None:
    """As Save Animated WebP writes it, which adds _00001_ to the name."""
    parts, prefix = video.get_components(), f"{path.parent.name}/video"
    given = {"fps": float(parts.frame_rate), "lossless": False, "quality": 90, "method": 4}
    ui.ImageSaveHelper.save_animated_webp(parts.images, prefix, io.FolderType.temp, node, **given)


_WRITERS = {"mp4": _write_mp4, "webp": _write_webp}


def uploads() -> list[str]:
    """Names of the files in the input folder that can be checked."""
    files = Path(folder_paths.get_input_directory()).glob("*")
    return sorted(path.name for path in files if path.suffix.lower() in ENDINGS)


def chosen(file: str, video: Input.Video | None) -> Input.Video:
    """The video to check: a file of the input folder, or the connected one.

    Raises:
        ValueError: there is none, or there are two.
    """
    if (file == CONNECTED) == (video is None) or file not in (CONNECTED, *uploads()):
        expected = f"a file in input/ ({', '.join(ENDINGS)}), or {CONNECTED!r} and a video"
        raise ValueError(f"file: expected {expected}, got {file!r:.200} and {'no' if video is None else 'a'} video.")
    return video or InputImpl.VideoFromFile(str(Path(folder_paths.get_input_directory()) / file))


def opened(video: Input.Video) -> AbstractContextManager[BinaryIO]:
    """The bytes of a video's file; of frames that are in no file yet, of the one that the host makes of them."""
    source = video.get_stream_source()
    return nullcontext(source) if isinstance(source, BytesIO) else Path(source).open("rb")


def credentials_in(video: Input.Video) -> dict[str, Any]:
    """As `credentials.credentials_of`; `state` is "unread" where the package is missing."""
    try:
        with opened(video) as file:
            return credentials.credentials_of(file)
    except ImportError as error:
        return {"state": "unread", "problems": [str(error)]}


def hash_of(reference: Input.Video | None) -> str:
    """SHA-256 (hex) of a video's file, as any program computes it.

    Raises:
        ValueError: there is no video, or it is no file.
    """
    if reference is None or type(reference).get_stream_source is Input.Video.get_stream_source:
        raise ValueError("reference: expected the file that name_reference names, got none; connect Load Video.")
    digest = hashlib.sha256()
    with opened(reference) as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def mark_in(video: Input.Video) -> Mark | None:
    """The mark of a video; None where no frames can be read."""
    try:
        return read_mark(sample_of(video))
    except (ValueError, OSError, Image.DecompressionBombError):
        return None


def sample_of(video: Input.Video) -> torch.Tensor:
    """(T, H, W, 3) in [0, 1]: the first seconds of a video, its frames made small, for reading a mark.

    Raises:
        ValueError, OSError: the file cannot be read.
    """
    with opened(video) as file:
        if file.read(12)[8:] == b"WEBP":
            frames = itertools.islice(ImageSequence.Iterator(Image.open(file)), _MOST)
            small = [np.asarray(frame.convert("RGB").resize((_SAMPLE.width, _SAMPLE.height))) for frame in frames]
            return torch.from_numpy(np.stack(small)).float() / 255
    read = read_video(video, _RATE, _MOST, _SAMPLE)
    return video.get_components().images[:_MOST] if read is None else read.frames
