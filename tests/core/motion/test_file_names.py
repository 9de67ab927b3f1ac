"""Names of files: none leaves its folder."""

import pytest

from fastvmt_core.motion.file_names import LONGEST, free_name, inside, require_file_name

BAD = [
    "",
    "  ",
    ".",
    "..",
    "../walk",
    "a/../../walk",
    "/etc/passwd",
    "\\\\server\\share",
    "C:\\walk",
    "C:walk",
    "walk\0.safetensors",
    "walk\n",
    "a\nb",
    "CON",
    "con.safetensors",
    "Nul .txt",
    "COM1",
    "lpt9.x",
    "walk.",
    ".hidden",
    "w" * (2 * LONGEST),
    "wa\u202elk",
    "a|b",
    "a*",
]


@pytest.mark.parametrize("name", [name for name in BAD if name != "walk\n"])
def test_bad_names_are_refused_by_the_widgets_name(name):
    with pytest.raises(ValueError, match="^name: expected a name .*choose another"):
        require_file_name("name", name)


def test_a_name_that_is_typed_leaves_room_for_an_ending_and_a_number(tmp_path):
    with pytest.raises(ValueError, match=f"1 to {LONGEST} bytes"):
        require_file_name("name", "w" * (LONGEST + 1))
    file = free_name(tmp_path, require_file_name("name", "w" * LONGEST), ".safetensors")
    file.touch()
    again = free_name(tmp_path, "w" * LONGEST, ".safetensors")
    for path in (file, again):
        assert inside("motion", tmp_path, path.name) == tmp_path.resolve() / path.name


@pytest.mark.parametrize("name", ["walk", " walk ", "Walk 2.1 (left)", "gehen-äöü", "歩く", "console", "w" * LONGEST])
def test_good_names(name):
    assert require_file_name("name", name) == name.strip()


@pytest.mark.parametrize("name", [name for name in BAD if name not in ("walk\n",)])
def test_nothing_leads_out_of_a_folder(tmp_path, name):
    with pytest.raises(ValueError, match="^motion: expected"):
        inside("motion", tmp_path, name)


def test_folders_below_are_inside(tmp_path):
    assert inside("motion", tmp_path, "walks/left.safetensors") == tmp_path.resolve() / "walks" / "left.safetensors"
    assert inside("motion", tmp_path, "walks\\left.safetensors") == tmp_path.resolve() / "walks" / "left.safetensors"


@pytest.mark.parametrize("name", ["/tmp/x", "a/b/", "a//b", "a\\\\b"])
def test_an_empty_part_is_named(tmp_path, name):
    with pytest.raises(
        ValueError, match="^filename_prefix: expected a name without / at its ends or doubled, got "
    ) as refused:
        inside("filename_prefix", tmp_path, name)
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("name", ["a" * 239, "é" * 120, "/".join(["a" * 200] * 6)])
def test_a_name_leaves_room_for_what_is_added(tmp_path, name):
    with pytest.raises(
        ValueError, match="^filename_prefix: expected a name of at most 238 bytes, 1006 with all folders, got"
    ):
        inside("filename_prefix", tmp_path, name, added=17)
    assert inside("filename_prefix", tmp_path, "b" * 200 + "/" + "a" * 238, added=17).name == "a" * 238


def test_links_that_lead_out_are_refused(tmp_path):
    folder, outside = tmp_path / "motions", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret.safetensors").write_bytes(b"x")
    (folder / "link.safetensors").symlink_to(outside / "secret.safetensors")
    (folder / "walks").symlink_to(outside)
    for name in ("link.safetensors", "walks/secret.safetensors"):
        with pytest.raises(ValueError, match="a link that leads out of it"):
            inside("motion", folder, name)
    (folder / "own.safetensors").symlink_to(folder / "target.safetensors")
    assert inside("motion", folder, "own.safetensors").name == "own.safetensors"


def test_a_taken_name_gets_a_number(tmp_path):
    assert free_name(tmp_path, "walk", ".x").name == "walk.x"
    (tmp_path / "walk.x").touch()
    (tmp_path / "walk_2.x").symlink_to(tmp_path / "nowhere")
    assert free_name(tmp_path, "walk", ".x").name == "walk_3.x"


@pytest.mark.parametrize(
    ("there", "name"), [("Walk", "walk"), ("STRASSE", "straße"), ("e\u0301t\u00e9", "\u00e9te\u0301")]
)
def test_names_that_another_computer_takes_for_the_same_are_taken(tmp_path, there, name):
    (tmp_path / f"{there}.x").touch()
    assert free_name(tmp_path, name, ".x") == tmp_path / f"{name}_2.x"


def test_a_name_that_is_taken_in_another_folder_gets_a_number(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    other.mkdir()
    (other / "walk.x").touch()
    assert free_name(own, "walk", ".x", [other]) == own / "walk_2.x"
    assert free_name(own, "run", ".x", [other, tmp_path / "missing"]) == own / "run.x"


@pytest.mark.parametrize("letter", ["\u00e4", "\u6b69", "\U0001f600", "w"])
def test_a_name_is_as_long_as_file_systems_allow_in_bytes(tmp_path, letter):
    longest = letter * (LONGEST // len(letter.encode()))
    for _ in range(12):
        free_name(tmp_path, require_file_name("name", longest), ".safetensors").touch()
    with pytest.raises(ValueError, match=f"a name of 1 to {LONGEST} bytes"):
        require_file_name("name", longest + letter)
