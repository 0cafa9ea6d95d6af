"""Stored names: what they may be, and what they are when none is given."""

from __future__ import annotations

from typing import Final

from django.apps import apps
from django.core.exceptions import AppRegistryNotReady

from django_infinitic.exceptions import RegistryError

LONGEST_NAME: Final = 255


def check_name(name: object, place: str, what: str = "name") -> str:
    """A stored name: 1 to 255 characters, no space at an end, no NUL. `RegistryError` otherwise."""
    if not isinstance(name, str):
        raise RegistryError(f"{place}: {what} must be a text, not {name!r}.")
    if not name:
        raise RegistryError(f"{place}: {what} must not be empty.")
    if len(name) > LONGEST_NAME:
        raise RegistryError(
            f"{place}: {what} has {len(name)} characters, at most {LONGEST_NAME} are stored: "
            f"{name[:40]}…"
        )
    if name != name.strip():
        raise RegistryError(f"{place}: {what} {name!r} must not begin or end with a space.")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in name):
        raise RegistryError(
            f"{place}: {what} {name!r} holds a character that databases do not store."
        )
    return str(name)


def default_name(module: str, name: str, place: str) -> str:
    """`<app label>.<name>`; outside any app a `RegistryError` that says to give a name."""
    label = app_label(module)
    if label is None:
        raise RegistryError(
            f"{place}: {name} is defined in {module}, which belongs to no installed app, so it has "
            f'no default name. Give it one: name="{name}". (Stored names must stay the same.)'
        )
    return f"{label}.{name}"


def app_label(module: str) -> str | None:
    """The label of the installed app that a module belongs to, also while apps are loading."""
    try:
        config = apps.get_containing_app_config(module)
        return config.label if config else None
    except AppRegistryNotReady:
        # Reached when models.py imports it: by then the configurations are there.
        found = [
            (len(config.name), config.label)
            for config in apps.app_configs.values()
            if module == config.name or module.startswith(config.name + ".")
        ]
        return max(found)[1] if found else None
