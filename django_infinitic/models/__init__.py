"""The tables: read-only for applications, which use `WorkflowInstance`, `Worker` and the field.

The other models are the engine's own rows. They are written by hand-made statements (`storages`),
not through the ORM, and may change with any release.
"""

from django_infinitic.models.custom_id import CustomId
from django_infinitic.models.event import Event
from django_infinitic.models.fields import WorkflowForeignKey
from django_infinitic.models.message import Message
from django_infinitic.models.outcome import Outcome
from django_infinitic.models.part import Part
from django_infinitic.models.tag import Tag
from django_infinitic.models.task import Task
from django_infinitic.models.timer import Timer
from django_infinitic.models.worker import Worker
from django_infinitic.models.workflow_instance import WorkflowInstance

__all__ = [
    "CustomId",
    "Event",
    "Message",
    "Outcome",
    "Part",
    "Tag",
    "Task",
    "Timer",
    "Worker",
    "WorkflowForeignKey",
    "WorkflowInstance",
]
