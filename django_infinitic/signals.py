"""Django signals: notifications after the commit, at most once; never a mechanism to rely on.

The sender is the registered class; they are sent with `send_robust` by the process that committed.
"""

from __future__ import annotations

from django.dispatch import Signal

workflow_started = Signal()
"""An instance was started: `workflow_id, workflow_name, tags`."""
workflow_completed = Signal()
"""An instance has ended well: `workflow_id, workflow_name, tags`."""
workflow_failed = Signal()
"""A method stalled, or ended as failed: `workflow_id, workflow_name, tags, error`."""
workflow_canceled = Signal()
"""An instance was canceled: `workflow_id, workflow_name, tags`."""

task_failed = Signal()
"""An attempt of a task failed: `task_id, workflow_id, error, will_retry`."""

worker_started = Signal()
"""A worker begins: `worker`."""
worker_stopping = Signal()
"""A worker is about to stop: `worker`."""

human_task_created = Signal()
"""People are asked: `task, event`, as with all of these."""
human_task_assigned = Signal()
"""It was assigned: `user`, None when released."""
human_task_voted = Signal()
"""Somebody voted: `outcome`."""
human_task_decided = Signal()
"""It is decided: `decision`."""
human_task_commented = Signal()
"""Somebody commented: `text`."""
human_task_reminded = Signal()
"""People were reminded."""
human_task_overdue = Signal()
"""Its due time has passed."""
human_task_expired = Signal()
"""It has expired, unanswered."""
human_task_withdrawn = Signal()
"""It was withdrawn: `reason`."""
