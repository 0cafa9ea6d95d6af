"""The documentation: its Python parses, and what it imports from the package exists."""

from __future__ import annotations

import ast
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

from django_infinitic import checks, conf

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
PAGES = [page for page in PAGES if "_build" not in page.parts]
BLOCK = re.compile(r"^```(?:\{code-block\} )?python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    found = []
    for body in BLOCK.findall(page.read_text()):
        body = re.sub(r"^:\w+:.*\n", "", body, flags=re.MULTILINE)
        # A comment stands for the body of what is only begun.
        found.append(textwrap.dedent(body))
    return found


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_python_parses_and_imports_what_exists(page: Path) -> None:
    for block in blocks(page):
        for node in ast.walk(ast.parse(block)):
            if not isinstance(node, ast.ImportFrom) or node.level:
                continue
            if str(node.module).partition(".")[0] == "django_infinitic":
                module = import_module(str(node.module))
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_all_checks_are_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "checks.md").read_text()
    used = set(re.findall(r"infinitic\.[EWI]\d+", Path(checks.__file__).read_text()))
    assert used == set(re.findall(r"infinitic\.[EWI]\d+", page))


def test_all_settings_are_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    shown = set(re.findall(r"^\| `([A-Z_]+)` \|", page, flags=re.MULTILINE))
    assert shown == set(conf._KEYS)


def test_every_decision_is_numbered_once() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in names] == list(range(len(names)))
