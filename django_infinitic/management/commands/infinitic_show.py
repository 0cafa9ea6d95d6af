"""`infinitic_show`: why one workflow does not move, and what has happened to it."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_infinitic.client.entries import NO_PAYLOAD, Entry
from django_infinitic.client.explaining import explain
from django_infinitic.client.lookup import Ambiguous, find_instance
from django_infinitic.client.state import state_document
from django_infinitic.client.timeline import Timeline
from django_infinitic.client.wording import duration_text, time_text
from django_infinitic.fibres.times import moment
from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.storages.base import StoredInstance

STACK = " " * 24


class Command(BaseCommand):
    """The explanation and the timeline of an instance; exit code 1 when it is unknown."""

    help = "Shows what a workflow waits for, and its timeline."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The flags."""
        parser.add_argument(
            "id", metavar="ID", help="Its id, the first digits of it (8 or more), or its custom id."
        )
        parser.add_argument(
            "--json", action="store_true", help="State and explanation as JSON, with payloads."
        )
        parser.add_argument(
            "--payloads", action="store_true", help="Show arguments, results and messages."
        )

    def handle(self, *, id: str, json: bool, payloads: bool, **options: Any) -> None:
        """Look, and change nothing."""
        try:
            row = find_instance(id)
        except Ambiguous as error:
            raise CommandError(str(error)) from None
        if row is None:
            raise CommandError(
                f"There is no workflow {id}: it was never started here, or retention has deleted "
                "it."
            )
        if json:
            self._write_json(row)
            return
        self._write_head(row)
        self.stdout.write(f"\n{explain(row.id)}\n\n")
        for entry in Timeline(row, payloads=payloads).entries():
            self._write_entry(entry, row.method, payloads)

    def _write_json(self, row: StoredInstance) -> None:
        document = {"state": state_document(row), "explanation": explain(row.id).to_json()}
        self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))

    def _write_head(self, row: StoredInstance) -> None:
        version = "" if row.version is None else f" version {row.version}"
        self.stdout.write(f"{row.workflow}{version} ({row.id}) {InstanceStatus(row.status).name}")
        by = f" by {row.started_by}" if row.started_by else ""
        self.stdout.write(f"started {time_text(moment(row.created_at))}{by}")
        if row.closed_at is not None:
            self.stdout.write(f"ended {time_text(moment(row.closed_at))}")
        if row.custom_id is not None:
            self.stdout.write(f"custom id {row.custom_id}")
        if row.tags:
            self.stdout.write(f"tags {', '.join(sorted(row.tags))}")

    def _write_entry(self, entry: Entry, main: str, payloads: bool) -> None:
        at = "unknown time" if entry.at is None else time_text(entry.at)
        self.stdout.write(f"{at:<24}{_line(entry, main)}")
        for name in ("arguments", "value"):
            value = getattr(entry, name)
            if value != NO_PAYLOAD:
                text = json.dumps(value, ensure_ascii=False) if payloads else value
                self.stdout.write(textwrap.indent(f"{name}: {text}", STACK))
        if entry.traceback:
            self.stdout.write(textwrap.indent(entry.traceback.rstrip(), STACK))


def _line(entry: Entry, main: str) -> str:
    text = entry.text
    if entry.id is not None:
        text += f" ({entry.id})"
    if entry.method not in ("", main) and entry.kind != "method":
        text = f"{entry.method}: {text}"
    parts = [entry.status] if entry.status and entry.kind != "end" else []
    if entry.seconds is not None:
        parts.append(f"after {duration_text(entry.seconds)}")
    if entry.attempts:
        parts.append(f"{entry.attempts} attempt{'s' if entry.attempts > 1 else ''}")
    if parts:
        text += f" {' '.join(parts[:2])}" + (f", {parts[2]}" if parts[2:] else "")
    return text + (f": {entry.error}" if entry.error else "")
