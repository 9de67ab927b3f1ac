"""Where everything of the host lives."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


class SetupError(RuntimeError):
    """Something is missing on this machine; the message says what, and what to do about it."""


@dataclass(frozen=True)
class Layout:
    """The folders of one checkout, and which ComfyUI and interpreter it uses.

    ``comfyui`` and ``python`` are absolute; ``own_comfyui`` and ``own_python`` say whether we made them, that is
    whether we may change them. ``environment`` is the folder of the Python environment that we make.
    """

    repo: Path
    comfyui: Path
    environment: Path
    python: Path
    own_comfyui: bool = True
    own_python: bool = True

    @classmethod
    def of(cls, repo: Path = REPO, environment: Mapping[str, str] | None = None) -> Layout:
        """The layout of ``repo``, with COMFYUI_DIR and FASTVMT_PYTHON taken from the environment."""
        environment = os.environ if environment is None else environment
        comfyui, python = environment.get("COMFYUI_DIR"), environment.get("FASTVMT_PYTHON")
        folder = Path(comfyui).expanduser().resolve() if comfyui else repo / ".host" / "comfyui"
        # Another ComfyUI asks for other versions than ours: in one environment, each would undo the other's.
        made = repo / ".host" / _environment_name(folder) if comfyui else repo / ".venv"
        return cls(
            repo=repo,
            comfyui=folder,
            environment=made,
            # Not resolved: a virtual environment's python is a link, and following it leaves the environment.
            python=Path(os.path.abspath(os.path.expanduser(python))) if python else made / "bin" / "python",
            own_comfyui=not comfyui,
            own_python=not python,
        )

    @property
    def host(self) -> Path:
        """The folder for everything that is made here and not committed."""
        return self.repo / ".host"

    @property
    def base(self) -> Path:
        """ComfyUI's base directory for a person at the page; programs bring their own (see ``Server``)."""
        return self.host / "base"

    @property
    def clips(self) -> Path:
        """The folder of real camera clips that tests use."""
        return self.host / "clips"


def _environment_name(comfyui: Path) -> str:
    """One name for each ComfyUI that is not ours."""
    return f"venv-{comfyui.name}-{hashlib.sha256(str(comfyui).encode()).hexdigest()[:8]}"


def make_base(base: Path, layout: Layout) -> None:
    """Make ``base`` a ComfyUI base directory that holds this checkout and its demo models."""
    for name in ("custom_nodes", "user", "input", "output", "temp", "models"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link(base / "custom_nodes" / "fastvmt", layout.repo)
    # The pack itself has the demo's prompts now; a link that an older checkout left would give them a second time.
    (base / "custom_nodes" / "fastvmt_demo_prompts").unlink(missing_ok=True)
    models = layout.repo / "assets" / "models"
    folders = "".join(f"  {name}: {name}/\n" for name in ("diffusion_models", "vae"))
    (base / "extra_model_paths.yaml").write_text(f'fastvmt_demo:\n  base_path: "{models}"\n{folders}', encoding="utf-8")


def link(path: Path, target: Path) -> None:
    """Make ``path`` a symbolic link to ``target``, replacing a link that points elsewhere."""
    if path.is_symlink():
        if Path(os.readlink(path)) == target:
            return
        path.unlink()
    path.symlink_to(target, target_is_directory=True)
