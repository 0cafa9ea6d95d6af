"""What the code of a workflow sets on `self`, as far as its source shows."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator

from django_infinitic.authoring.members import lineage
from django_infinitic.authoring.workflow import Workflow
from django_infinitic.registry import WorkflowSpec


def unannotated_properties(workflow: WorkflowSpec) -> list[str]:
    """Attributes that the code of a workflow sets on self and no class body annotates."""
    found: dict[str, None] = {}
    for base in lineage(workflow.cls, below=Workflow):
        for name in _assigned(base):
            known = name in workflow.properties or name in workflow.transients
            if not known and not hasattr(getattr(workflow.cls, name, None), "__set__"):
                found.setdefault(name)
    return list(found)


def _assigned(cls: type) -> Iterator[str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return  # made without a source file
    body = tree.body[0]
    for function in getattr(body, "body", ()):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not function.args.args:
            continue
        me = function.args.args[0].arg
        for node in ast.walk(function):
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, ast.AnnAssign):
                targets = [node.target]
            for target in targets:
                for one in ast.walk(target):
                    if (
                        isinstance(one, ast.Attribute)
                        and isinstance(one.ctx, ast.Store)
                        and isinstance(one.value, ast.Name)
                        and one.value.id == me
                    ):
                        yield one.attr
