"""What application developers get for their tests."""

from django_infinitic.authoring.task_context import task_context
from django_infinitic.test.environment import Call, WorkflowEnvironment

__all__ = ["Call", "WorkflowEnvironment", "task_context"]
