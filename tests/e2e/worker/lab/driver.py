"""A client process that does what a test asks: one JSON line in, one out."""

import io
import json
import sys
import traceback
from datetime import timedelta
from typing import Any

import django
import environ

django.setup()

from django.core.management import CommandError, call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import F  # noqa: E402

from django_infinitic import client  # noqa: E402
from django_infinitic.models import Message, Task, Worker, WorkflowInstance  # noqa: E402
from django_infinitic.worker.start import store  # noqa: E402
from lab import workflows  # noqa: E402
from lab.models import Entry  # noqa: E402


def use(url: str) -> None:
    """Work on another database from here on."""
    connection.close()
    connection.settings_dict.update(environ.Env.db_url_config(url))


def command(*words: str) -> dict[str, Any]:
    """Run a management command in this process, which has loaded the project already."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command(*words, stdout=out, stderr=err)
    except CommandError as error:
        err.write(str(error))
        code = error.returncode
    except SystemExit as error:
        code = int(error.code or 0)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def start(name: str, *args: Any) -> str:
    cls, _, method = name.partition(".")
    return client.start(getattr(getattr(workflows, cls), method), *args).workflow_id


def start_many(name: str, arguments: list[list[Any]]) -> list[str]:
    return [start(name, *args) for args in arguments]


def roll_back(name: str, *args: Any) -> str:
    try:
        with transaction.atomic():
            id = start(name, *args)
            raise ZeroDivisionError
    except ZeroDivisionError:
        return id


def result(id: str, timeout: float = 20) -> Any:
    return client.get_handle(id).result(timeout)


def results(ids: list[str], timeout: float = 60) -> list[Any]:
    return [client.get_handle(id).result(timeout) for id in ids]


def status(id: str) -> str:
    return client.get_handle(id).status().name


def cancel(id: str) -> None:
    client.get_handle(id).cancel()


def retry(id: str) -> None:
    client.get_handle(id).retry()


def failure(id: str, timeout: float = 20) -> str:
    try:
        client.get_handle(id).result(timeout)
    except Exception as error:
        nested = getattr(error, "deferred_error", error)
        found = getattr(nested, "last_failure", None)
        text = f"{found.exception.name}: {found.exception.message}" if found else ""
        return f"{type(error).__name__} {type(nested).__name__} {text}"
    return ""


def instance(id: str) -> dict[str, Any]:
    row = WorkflowInstance.objects.filter(pk=id).first()
    if row is None:
        return {}
    return {
        "status": WorkflowInstance.Status(row.status).name,
        "crashes": row.crashes,
        "waiting": row.waiting_for,
    }


def entries() -> list[str]:
    return sorted(Entry.objects.values_list("key", flat=True))


def alive() -> list[dict[str, Any]]:
    return list(Worker.objects.filter(dead=False).values("id", "name", "pid"))


def reap(worker: int) -> None:
    store().reap(worker)


def age(seconds: float) -> None:
    """Let everything be older by so many seconds."""
    micros = round(seconds * 1_000_000)
    Message.objects.update(created=F("created") - micros)
    Task.objects.update(ready_at=F("ready_at") - micros)
    for worker in Worker.objects.filter(dead=True):
        Worker.objects.filter(pk=worker.pk).update(
            expires_at=worker.expires_at - timedelta(seconds=seconds)
        )


def tasks() -> list[dict[str, Any]]:
    return list(Task.objects.values("name", "state", "attempt", "worker"))


def send(id: str, text: str, name: str = "Single") -> None:
    client.get_workflow_by_id(getattr(workflows, name), id).go.send(text)


def cut() -> None:
    """Cut all other connections to this database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


for line in sys.stdin:
    name, args = json.loads(line)
    try:
        answer = {"value": globals()[name](*args)}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
