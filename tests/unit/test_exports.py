"""What applications import."""

import subprocess
import sys

import pytest

import django_infinitic

WRITTEN_IN_THE_CONTRACT = (
    *("RetryPolicy", "batch", "current_task", "service", "task", "Channel", "Workflow"),
    *("new_service", "new_workflow", "workflow", "workflow_method", "transient", "patched"),
    *("get_workflow_by_id", "get_workflow_by_custom_id", "get_workflow_by_tag", "Ref"),
    *("Deferred", "DeferredStatus", "WorkflowEnd", "and_", "or_", "first_success"),
    *("TaskContext", "WorkflowContext"),
)


@pytest.mark.parametrize("name", WRITTEN_IN_THE_CONTRACT)
def test_it_is_importable_from_the_root(name: str) -> None:
    assert name in django_infinitic.__all__
    assert name in dir(django_infinitic)
    assert getattr(django_infinitic, name).__name__ == name


def test_every_name_of_the_list_has_a_place() -> None:
    assert set(django_infinitic.__all__) == set(django_infinitic._WHERE)


def test_what_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        django_infinitic.nothing  # noqa: B018


def test_importing_the_package_loads_neither_models_nor_settings() -> None:
    code = (
        "import sys, django_infinitic, django_infinitic.exceptions\n"
        "assert 'django.db' not in sys.modules, 'django.db'\n"
        "assert 'pydantic' not in sys.modules, 'pydantic'\n"
        "assert 'django_infinitic.models' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
