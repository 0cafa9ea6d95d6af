"""Finding an instance by what a person has at hand: an id, the beginning of one, a custom id."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from django_infinitic.client.context import surroundings
from django_infinitic.conf import settings
from django_infinitic.storages.base import StoredInstance

SHORTEST: Final = 8
_BEGINNING: Final = re.compile(r"[0-9a-f]{8,32}")


class Ambiguous(LookupError):
    """Several instances have ids that begin so."""


def find_instance(text: str) -> StoredInstance | None:
    """The instance with its history; None when there is none. Raises `Ambiguous`.

    `text` is an id, the first 8 or more digits of one, or a custom id (the latest that had it).
    """
    store = surroundings().store()
    found = store.history(text)
    if found is None:
        instance = store.find(None, text) or _by_beginning(text)
        found = None if instance is None else store.history(instance)
    return found


def _by_beginning(text: str) -> str | None:
    digits = text.replace("-", "").lower()
    if not _BEGINNING.fullmatch(digits) or len(digits) == 32:
        return None
    from django_infinitic.models import WorkflowInstance

    rows = WorkflowInstance.objects.using(settings.storage.alias).filter(
        pk__gte=UUID(digits.ljust(32, "0")), pk__lte=UUID(digits.ljust(32, "f"))
    )
    found = list(rows.order_by("pk").values_list("pk", flat=True)[:2])
    if len(found) > 1:
        raise Ambiguous(
            f"Several workflows have ids that begin with {text}: {found[0]}, {found[1]}."
        )
    return str(found[0]) if found else None
