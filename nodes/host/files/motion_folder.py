"""Where motions are kept. Trap: the host lists every folder that it is given, and follows links out of it."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ....fastvmt_core.motion.embedding import MotionEmbedding
from ....fastvmt_core.motion.file_names import free_name, inside, require_file_name

FOLDER = "fastvmt_motion"
"""Below models/, and the folder's name in extra_model_paths.yaml; below input/ for what the page uploads."""
ENDING = ".safetensors"
SHIPPED = Path(__file__).resolve().parents[3] / "assets" / "motions"
"""Motions that come with the pack; listed and read, never written."""


def register() -> None:
    """Give the host the folders, with none of the endings of files that could hold code.

    A user's motion stands before a shipped one of the same name.
    """
    own = [str(Path(folder_paths.models_dir) / FOLDER), str(Path(folder_paths.get_input_directory()) / FOLDER)]
    known, _ = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))
    others = [path for path in known if path not in (*own, str(SHIPPED))]
    folder_paths.folder_names_and_paths[FOLDER] = ([*own, *others, str(SHIPPED)], {ENDING})


def names() -> list[str]:
    """The names of the motions, as the host lists them."""
    return folder_paths.get_filename_list(FOLDER)


def find(name: str) -> Path:
    """The file of a listed motion.

    Raises:
        ValueError: there is none of that name, or it leads out of the folder.
    """
    folders = [Path(folder) for folder in folder_paths.get_folder_paths(FOLDER)]
    for folder in folders:
        path = inside("motion", folder, name)
        if path.is_file() and path.suffix.lower() == ENDING:
            return path
    raise ValueError(
        f"motion: expected a {ENDING} file in models/{FOLDER} or input/{FOLDER}, got {name!r:.200}; press R to read "
        "the list again."
    )


def state(name: str) -> str:
    """What changes when the file does, so that a changed one is read again; empty where there is none."""
    try:
        stat = find(name).stat()
    except (ValueError, OSError):
        return ""
    return f"{stat.st_mtime_ns} {stat.st_size}"


def save(motion: MotionEmbedding, name: str, replace: bool) -> str:
    """Write a motion into the first folder; returns the name under which it is listed.

    Without `replace` it takes a name that is free in every folder, so that it hides no other motion.

    Raises:
        ValueError: the name cannot be a file's.
        OSError: the folder cannot be made or written; the message names it.
    """
    stem = require_file_name("name", name).removesuffix(ENDING)
    folder, *others = (Path(path) for path in folder_paths.get_folder_paths(FOLDER))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{stem}: expected a folder that can be made, got {folder} ({error}); free its name.") from error
    path = inside("name", folder, stem + ENDING) if replace else free_name(folder, stem, ENDING, others)
    motion.save(path)
    folder_paths.filename_list_cache.pop(FOLDER, None)
    return path.name
