"""The list of what is shipped and needed is that of this tree, and names a licence for each."""

import json

from tools.build import sbom
from tools.host.layout import REPO


def test_the_file_is_that_of_this_tree():
    # Otherwise: python -m tools.build sbom
    assert json.loads(sbom.FILE.read_text(encoding="utf-8")) == sbom.described()


def test_all_that_is_needed_is_listed_with_a_licence():
    listed = {each["name"]: each for each in sbom.described()["components"]}
    needed = (REPO / "requirements.txt").read_text(encoding="utf-8").split()
    assert {name.partition(">")[0] for name in needed} | {"torch"} <= set(listed)
    assert all(each["licenses"][0]["expression"] for each in listed.values())


def test_every_shipped_file_that_is_no_text_is_listed_with_its_hash():
    listed = {each["name"]: each for each in sbom.described()["components"] if "hashes" in each}
    found = [*(REPO / "assets").rglob("*.safetensors"), *(REPO / "assets").rglob("*.mp4")]
    names = {path.relative_to(REPO).as_posix() for path in found if "classifier" not in path.parts}
    assert names == set(listed)
    assert all(len(each["hashes"][0]["content"]) == 64 for each in listed.values())
