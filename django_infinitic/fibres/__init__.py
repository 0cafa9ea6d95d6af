"""Fibres: they run the code of workflows, live and in replays, driven by the machine."""

from django_infinitic.fibres.runs import Runs, attach

__all__ = ["Runs", "attach"]
