"""Packs of other people that rows use: where a machine has them, and the commands that get them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.host.layout import Layout


@dataclass(frozen=True)
class Pack:
    """One pack: the repository that holds it, the commit that was tried, and the modules that it imports."""

    repository: str
    commit: str
    modules: tuple[str, ...] = ()
    packages: str = ""
    """What pip installs for them."""

    @property
    def name(self) -> str:
        """The pack's folder."""
        return self.repository.rpartition("/")[2]

    @property
    def folder(self) -> Path:
        """Where it is looked for: below FASTVMT_PACKS, or .host/packs."""
        return packs_folder() / self.name

    @property
    def stand_in(self) -> Path:
        """Nodes of ours by the pack's names, which take hold of a model where those do; not for every pack."""
        return Path(__file__).parent / "stand_ins" / self.name

    def lacks(self, layout: Layout) -> str:
        """What this machine lacks to use it, and the command that gets that; empty if nothing."""
        if not self.folder.is_dir():
            return f"{self.name} is not in {packs_folder()}: {self.get(packs_folder())}"
        missing = _missing(layout.python, self.modules)
        return f"{layout.python} lacks {missing}: {layout.python} -m pip install {self.packages}" if missing else ""

    def get(self, folder: Path) -> str:
        """The command that puts it below a folder."""
        clone = f"git clone https://github.com/{self.repository} {folder / self.name}"
        return f"{clone} && git -C {folder / self.name} checkout {self.commit}"


@cache
def _missing(python: Path, modules: tuple[str, ...]) -> str:
    program = "import importlib.util, sys; print(*[m for m in sys.argv[1:] if not importlib.util.find_spec(m)])"
    command = [str(python), "-c", program, *modules]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def packs_folder() -> Path:
    """The folder that holds packs."""
    named = os.environ.get("FASTVMT_PACKS")
    return Path(named).expanduser().resolve() if named else Layout.of().host / "packs"


GGUF = Pack("city96/ComfyUI-GGUF", "795e451", ("gguf",), "gguf")
KJ_NODES = Pack("kijai/ComfyUI-KJNodes", "3f20054", ("color_matcher", "mss", "matplotlib", "cv2"),
                "color-matcher mss matplotlib opencv-python-headless")  # fmt: skip
TEA_CACHE = Pack("welltop-cn/ComfyUI-TeaCache", "91dff8e", ("diffusers",), "diffusers")
MAG_CACHE = Pack("Zehong-Ma/ComfyUI-MagCache", "47bdd2a")
RES4LYF = Pack("ClownsharkBatwing/RES4LYF", "022c873", ("pywt", "matplotlib", "cv2"),
               "pywavelets matplotlib opencv-python-headless")  # fmt: skip
PACKS = (GGUF, KJ_NODES, TEA_CACHE, MAG_CACHE, RES4LYF)
"""All of them."""
