"""The written pages: links lead somewhere, and the package metadata agrees with the code."""

import ast
import re
from pathlib import Path

import pytest

from tools.host.prepare import EXTRA_PACKAGES

try:
    import tomllib
except ModuleNotFoundError:
    # Python 3.10, where pytest brings it.
    import tomli as tomllib

REPO = Path(__file__).resolve().parents[1]
PAGES = [
    *(REPO / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "assets/models/MODEL_CARD.md")),
    *sorted((REPO / "docs").rglob("*.md")),
    REPO / "README.zh.md",
    REPO / "SECURITY.md",
    REPO / "benchmarks" / "README.md",
]
CHINESE = {
    REPO / "README.md": REPO / "README.zh.md",
    REPO / "docs" / "guide.md": REPO / "docs" / "zh" / "guide.md",
}
"""Pages in both languages."""
MOST_README_LINES = 120
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBER = re.compile(r"\d*\.?\d+")
FENCED = re.compile(r"```.*?```", re.DOTALL)
INLINE = re.compile(r"`[^`]*`")


def text_of(page):
    return page.read_text(encoding="utf-8")


def prose_of(page):
    """The page without code, which names what others named."""
    return INLINE.sub("", FENCED.sub("", text_of(page)))


def anchors_of(page):
    """What a page's headings are called in links: lower case, words joined by hyphens, punctuation dropped."""
    headings = re.findall(r"^#+ +(.+?)\s*$", FENCED.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def node_ids():
    """The node_id of every schema in nodes/."""
    return sorted(
        keyword.value.value
        for path in (REPO / "nodes").glob("*.py")
        for call in ast.walk(ast.parse(text_of(path)))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "node_id" and isinstance(keyword.value, ast.Constant)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_links_and_pictures_lead_somewhere(page):
    broken = []
    for link in LINK.findall(prose_of(page)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


def facts_of(page):
    """What a translation keeps: levels of headings, commands, names in code, pages that are linked, numbers."""
    text, english = text_of(page), {chinese: page for page, chinese in CHINESE.items()}
    links = [link.partition("#")[0] for link in LINK.findall(text) if not re.match("http|#", link)]
    targets = [english.get(target, target) for target in ((page.parent / link).resolve() for link in links)]
    return {
        "headings": [len(marks) for marks in re.findall(r"^(#+) ", FENCED.sub("", text), re.MULTILINE)],
        "commands": [re.sub(r"#.*", "", code) for code in FENCED.findall(text)],
        "names": {*INLINE.findall(FENCED.sub("", text))},
        # A Chinese page stands for the English one; each links to the other.
        "links": sorted(target for target in targets if target != english.get(page, page)),
        "numbers": sorted(NUMBER.findall(FENCED.sub("", LINK.sub("", text)))),
    }


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_chinese_page_has_all_that_the_english_one_has(page):
    assert facts_of(CHINESE[page]) == facts_of(page)


def test_the_readme_stays_short():
    assert len(text_of(REPO / "README.md").splitlines()) <= MOST_README_LINES


def test_every_template_is_in_the_readme():
    templates = sorted(path.stem for path in (REPO / "workflows").glob("*.json"))
    assert templates and [name for name in templates if f"`{name}`" not in text_of(REPO / "README.md")] == []


def test_every_node_has_a_help_page_in_both_languages():
    nodes = node_ids()
    assert "FastVMTApplyMotion" in nodes
    folder = REPO / "web" / "docs"
    missing = [
        f"{node} ({language})"
        for node in nodes
        for language, page in (("en", folder / f"{node}.md"), ("zh", folder / node / "zh.md"))
        if not page.is_file()
    ]
    assert missing == []


def metadata():
    return tomllib.loads(text_of(REPO / "pyproject.toml"))


def test_the_registry_gets_what_it_asks_for():
    project, comfy = metadata()["project"], metadata()["tool"]["comfy"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["urls"]["Repository"] and comfy["PublisherId"] and comfy["DisplayName"]
    assert comfy["requires-comfyui"].startswith(">=0.3.75")
    # The host would register the page's files twice.
    assert "web" not in comfy


def test_packages_are_listed_alike_everywhere():
    project = metadata()["project"]
    required = text_of(REPO / "requirements.txt").split()
    # ComfyUI brings torch: requirements.txt leaves its version alone.
    assert set(project["dependencies"]) == {"torch", *required}
    extras = {name for group in project["optional-dependencies"].values() for name in group}
    assert set(EXTRA_PACKAGES) <= extras
