"""Django signals after a commit: notifications, at most once, never a mechanism to rely on."""

from __future__ import annotations

from typing import Any

from django_infinitic import signals
from django_infinitic.exceptions import RegistryError
from django_infinitic.registry import registry


def tell(workflow: str, instance: str, name: str, fields: dict[str, Any]) -> None:
    """Send the signal of this name; the sender is the registered class."""
    signal = getattr(signals, name, None)
    if signal is None:
        return
    try:
        sender = registry.workflow_spec(workflow).cls
    except RegistryError:
        sender = None
    signal.send_robust(sender=sender, workflow_id=instance, workflow_name=workflow, **fields)
