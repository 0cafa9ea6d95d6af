"""The scripts that a fresh clone meets first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def interpreter(path: Path, version: str) -> Path:
    """Something that answers as a Python of this version would."""
    return executable(path, f'#!/bin/sh\necho "{version} {path}"\n')


def find_python(tmp_path: Path, *versions: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "PYENV_ROOT": str(tmp_path / "pyenv"),
    }
    return subprocess.run(
        [SCRIPTS / "python", *versions], env=environment, capture_output=True, text=True
    )


def test_a_shim_that_is_not_active_is_not_an_interpreter(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "python3.99", "#!/bin/sh\nexit 127\n")
    real = interpreter(tmp_path / "pyenv" / "versions" / "3.99.1" / "bin" / "python", "3.99")
    assert find_python(tmp_path, "3.99").stdout == f"{real}\n"


def test_versions_are_preferred_in_the_order_given(tmp_path: Path) -> None:
    old = interpreter(tmp_path / "bin" / "python3.98", "3.98")
    new = interpreter(tmp_path / "bin" / "python3.99", "3.99")
    assert find_python(tmp_path, "3.99", "3.98").stdout == f"{new}\n"
    assert find_python(tmp_path, "3.98", "3.99").stdout == f"{old}\n"


def test_without_an_interpreter_it_says_so(tmp_path: Path) -> None:
    answer = find_python(tmp_path, "3.97")
    assert answer.returncode == 1
    assert "3.97" in answer.stderr


@pytest.mark.parametrize(
    ("suites", "code", "line"),
    [
        ('<testsuite tests="3" failures="0" errors="0" skipped="0"/>', 0, "3 passed, 0 failed"),
        ('<testsuite tests="3" failures="1" errors="1" skipped="0"/>', 1, "1 passed, 2 failed"),
        ('<testsuite tests="3" failures="0" errors="0" skipped="1"/>', 1, "2 passed, 1 failed"),
        ("", 1, "0 passed, 0 failed"),
    ],
)
def test_the_summary_counts_what_ran(tmp_path: Path, suites: str, code: int, line: str) -> None:
    report = tmp_path / "report.xml"
    report.write_text(f"<testsuites>{suites}</testsuites>")
    answer = subprocess.run(
        [sys.executable, SCRIPTS / "summary", report], capture_output=True, text=True
    )
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (code, line)


def test_a_missing_report_is_a_failure(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, SCRIPTS / "summary", tmp_path / "none.xml"], capture_output=True, text=True
    )
    assert answer.stdout.splitlines()[-1] == "0 passed, 1 failed"


def test_the_postgresql_url_is_read_by_django_environ() -> None:
    import environ

    url = subprocess.run(
        [SCRIPTS / "postgresql", "url"], capture_output=True, text=True, env=os.environ
    ).stdout.strip()
    database = environ.Env.db_url_config(url)
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["NAME"], database["USER"]) == ("infinitic", "infinitic")
    socket = Path(database["OPTIONS"]["host"])
    assert socket.is_absolute()
    assert len(str(socket)) < 80
