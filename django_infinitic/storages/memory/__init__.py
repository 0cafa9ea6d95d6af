"""The store in memory: for tests, by the same port."""

from django_infinitic.storages.base import Storage
from django_infinitic.storages.memory.engine import MemoryEngine
from django_infinitic.storages.memory.ownership import MemoryOwnership
from django_infinitic.storages.memory.tasks import MemoryTasks


class MemoryStorage(MemoryEngine, MemoryTasks, MemoryOwnership, Storage):
    """All in one process; the clock is given, as tests have a virtual one."""


__all__ = ["MemoryStorage"]
