"""Rules of the code that no tool checks for us."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "django_infinitic"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Each of these would let stored or received data decide which code runs.
FORBIDDEN_NAMES = {"eval", "exec", "import_string"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


def names_and_imports(module: Path) -> tuple[set[str], set[str]]:
    names, imports = set(), set()
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                names.add(name)
            case ast.Import(names=aliases):
                imports |= {alias.name.partition(".")[0] for alias in aliases}
            case ast.ImportFrom(module=str(source), names=aliases, level=0):
                imports.add(source.partition(".")[0])
                names |= {alias.name for alias in aliases}
    return names, imports


def relative(module: Path) -> str:
    return module.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_stored_data_cannot_choose_code(module: Path) -> None:
    names, imports = names_and_imports(module)
    allowed = {"import_string"} if module == PACKAGE / "conf.py" else set()  # it reads settings
    assert not names & (FORBIDDEN_NAMES - allowed)
    assert not imports & FORBIDDEN_MODULES


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_modules_stay_small(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 600


@pytest.mark.parametrize(
    "library",
    ["psycopg", "MySQLdb", "redis", "pulsar", "jsonpath", "rest_framework", "drf_spectacular"],
)
def test_an_optional_library_is_imported_in_one_module_only(library: str) -> None:
    importers = [m for m in MODULES if library in names_and_imports(m)[1]]
    rooms = {m.parent if m.parent.name in {"api", "pulsar", "postgresql"} else m for m in importers}
    assert len(rooms) <= 1, [relative(m) for m in importers]


def test_dependencies_have_no_upper_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"].values()
    extras = project["project"]["optional-dependencies"].values()
    lists = [project["project"]["dependencies"], *extras, *groups]
    requirements = [r for requirements in lists for r in requirements if isinstance(r, str)]
    assert requirements
    for requirement in requirements:
        version = requirement.partition(";")[0]
        assert not any(mark in version for mark in ("<", "~=", "==")), requirement
