"""The setting `INFINITIC`: defaults, forms, and what is wrong with it.

`from django_infinitic.conf import settings`, then `settings.retention` and so on. It is read at the
first use and again when a test changes it; a wrong value raises `ImproperlyConfigured` when it is
used, and is a check error before.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar, overload
from urllib.parse import parse_qsl, unquote, urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

T = TypeVar("T")

NAME: Final = "INFINITIC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where something is kept, or how it is reached: the value of `STORAGE` or `TRANSPORT`.

    `scheme` is "database", "memory", "redis" or "pulsar", or "" for a class of one's own;
    `path` the dotted path of its class; `options` what it is made with.
    """

    scheme: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alias(self) -> str:
        """The database alias that its tables are on."""
        return str(self.options.get("alias", "default"))

    def load(self) -> Any:
        """The class, imported now; `ImproperlyConfigured` when there is none."""
        try:
            return import_string(self.path)
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{NAME}: {self.path} cannot be imported: {error}"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with the setting, for the check: `key`, what it is, and what to do."""

    key: str
    message: str
    hint: str = ""
    unknown: bool = False


_STORAGES: Final = {
    "database": "django_infinitic.storages.database.DatabaseStorage",
    "memory": "django_infinitic.storages.memory.MemoryStorage",
    "redis": "django_infinitic.storages.redis.RedisStorage",
}
_TRANSPORTS: Final = {
    "database": "django_infinitic.transports.database.DatabaseTransport",
    "memory": "django_infinitic.transports.memory.MemoryTransport",
    "pulsar": "django_infinitic.transports.pulsar.PulsarTransport",
}
_SCHEMES: Final = {
    "rediss": "redis",
    "unix": "redis",
    "redis+sentinel": "redis",
    "pulsar+ssl": "pulsar",
}


def _backend(paths: Mapping[str, str]) -> Callable[[Any], Backend]:
    def read(value: Any) -> Backend:
        if isinstance(value, str):
            return _from_url(value, paths)
        if isinstance(value, Mapping):
            return _from_mapping(value, paths)
        raise ValueError(
            'must be a URL such as "database://default", or {"BACKEND": ..., "OPTIONS": {...}}, '
            f"not {value!r}"
        )

    return read


def _from_url(url: str, paths: Mapping[str, str]) -> Backend:
    given, separator, _ = url.partition("://")
    scheme = _SCHEMES.get(given, given)
    if not separator or scheme not in paths:
        close = difflib.get_close_matches(given, [*paths, *_SCHEMES], n=1)
        meant = f"; did you mean {close[0]}://?" if close else ""
        known = ", ".join(f"{name}://" for name in sorted(paths))
        raise ValueError(f"must begin with one of {known}, and is {_shown(url)}{meant}")
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    options: dict[str, Any]
    if scheme == "database":
        options = {"alias": parts.netloc or "default"}
        if parts.path.strip("/") or query:
            raise ValueError(f"must name an alias and no more, as database://default, not {url!r}")
    elif scheme == "memory":
        options = {}
    elif scheme == "redis":
        # `db` of unix:///path?db=0 belongs to the URL; our own options do not.
        own: dict[str, str] = {key: query[key] for key in ("prefix", "alias") if key in query}
        options = {"url": _without(url, own), **own}
    else:
        names = [unquote(part) for part in parts.path.split("/") if part]
        if len(names) != 2:
            raise ValueError(
                f"must name tenant and namespace, as pulsar://host:6650/tenant/namespace: {url!r}"
            )
        service = f"{given}://{parts.netloc}"
        rest = {{"admin": "admin_url"}.get(name, name): one for name, one in query.items()}
        options = {"service_url": service, "tenant": names[0], "namespace": names[1], **rest}
    return Backend(scheme=scheme, path=paths[scheme], options=options)


def _shown(url: str) -> str:
    """The URL without its password, which must not get into logs."""
    before, at, after = url.rpartition("@")
    return repr(f"{before.partition('://')[0]}://…@{after}" if at else url)


def _without(url: str, names: Mapping[str, str]) -> str:
    address, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] not in names]
    return f"{address}?{'&'.join(kept)}" if kept else address


def _from_mapping(value: Mapping[str, Any], paths: Mapping[str, str]) -> Backend:
    unknown = value.keys() - {"BACKEND", "OPTIONS"}
    if unknown:
        names = ", ".join(sorted(map(str, unknown)))
        raise ValueError(f"has an unknown key {names}; it takes BACKEND and OPTIONS")
    path = value.get("BACKEND")
    if not isinstance(path, str) or "." not in path:
        raise ValueError(f"needs a BACKEND, the dotted path of a class, not {path!r}")
    options = value.get("OPTIONS", {})
    if not isinstance(options, Mapping):
        raise ValueError(f"has OPTIONS that are no dict: {options!r}")
    scheme = next((name for name, known in paths.items() if known == path), "")
    return Backend(scheme=scheme, path=path, options=dict(options))


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"must be finite, not {value}")
        try:
            duration = timedelta(seconds=value)
        except OverflowError:
            raise ValueError(f"is too long: {value}") from None
    else:
        raise ValueError(f"must be a timedelta or seconds, not {value!r}")
    if duration <= timedelta():
        raise ValueError(f"must be more than 0, not {value!r}")
    return duration


def _seconds(value: Any) -> float:
    return _duration(value).total_seconds()


def _optional(reader: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda value: None if value is None else reader(value)


def _number(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"must be an int from 1 up, not {value!r}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be True or False, not {value!r}")
    return value


def _url(value: Any) -> str:
    if not isinstance(value, str) or (value and not value.startswith(("http://", "https://"))):
        raise ValueError(f"must be a URL that begins with https://, not {value!r}")
    return value.rstrip("/")


class _Setting(Generic[T]):
    """One key, read at its first use."""

    def __init__(self, key: str, reader: Callable[[Any], T], default: Any) -> None:
        self.key = key
        self.reader = reader
        self.default = default

    @overload
    def __get__(self, instance: None, owner: type[Settings]) -> _Setting[T]: ...
    @overload
    def __get__(self, instance: Settings, owner: type[Settings]) -> T: ...
    def __get__(self, instance: Settings | None, owner: type[Settings]) -> _Setting[T] | T:
        if instance is None:
            return self
        known = instance._known
        if self.key not in known:
            given = getattr(django_settings, NAME, {})
            value = (
                given.get(self.key, self.default) if isinstance(given, Mapping) else self.default
            )
            try:
                known[self.key] = self.reader(value)
            except ValueError as error:
                raise ImproperlyConfigured(f'{NAME}["{self.key}"] {error}.') from None
        found: T = known[self.key]
        return found


class Settings:
    """The setting `INFINITIC` with its defaults; use the module's `settings`."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    storage = _Setting("STORAGE", _backend(_STORAGES), "database://default")
    """Where histories live: a `Backend`."""
    transport = _Setting("TRANSPORT", _backend(_TRANSPORTS), "database://default")
    """How other programs are reached: a `Backend`."""
    retention = _Setting("RETENTION", _optional(_duration), timedelta(days=30))
    """How long what has ended is kept, a `timedelta`; None: for ever."""
    payload_limit = _Setting("PAYLOAD_LIMIT", _number, 2_000_000)
    """The largest payload, in bytes of JSON."""
    atomic_tasks = _Setting("ATOMIC_TASKS", _flag, False)
    """Whether tasks that do not say are atomic."""
    result_timeout = _Setting("RESULT_TIMEOUT", _optional(_seconds), None)
    """Seconds that a client waits when it names no timeout; None: without limit."""
    site_url = _Setting("SITE_URL", _url, "")
    """The address of the site in mails, without a slash at the end; perhaps empty."""
    link_max_age = _Setting("LINK_MAX_AGE", _duration, timedelta(days=3))
    """How long a signed link to a human task works, a `timedelta`."""
    admin = _Setting("ADMIN", _flag, True)
    """Whether the pages are registered on the default admin site."""
    segment_timeout = _Setting("SEGMENT_TIMEOUT", _seconds, 10)
    """Seconds that workflow code may run without a wait."""
    task_max_seconds = _Setting("TASK_MAX_SECONDS", _seconds, 3600)
    """Seconds after which any attempt of a task is over."""
    parts = _Setting("PARTS", _number, 8)
    """Into how many parts the instances of a workflow are divided; fixed at first use."""

    @property
    def database(self) -> str:
        """The alias of the database that all tables but those of human tasks are on."""
        return self.storage.alias

    def problems(self) -> Iterator[Problem]:
        """All that is wrong with the setting."""
        given = getattr(django_settings, NAME, {})
        if not isinstance(given, Mapping):
            yield Problem(key="", message=f"{NAME} must be a dict, not {given!r}.")
            return
        for key in given:
            if key not in _KEYS:
                yield Problem(
                    key=str(key),
                    message=f"{NAME} has an unknown key {key!r}.",
                    hint=_nearest(str(key)),
                    unknown=True,
                )
        for key, attribute in _KEYS.items():
            try:
                getattr(self, attribute)
            except ImproperlyConfigured as error:
                yield Problem(key=key, message=str(error))

    def reset(self) -> None:
        """Read everything anew at the next use."""
        self._known = {}


_KEYS: Final = {
    value.key: name for name, value in vars(Settings).items() if isinstance(value, _Setting)
}


def _nearest(key: str) -> str:
    close = difflib.get_close_matches(key.upper(), _KEYS, n=1)
    if close:
        return f'Did you mean "{close[0]}"?'
    return f"It takes {', '.join(_KEYS)}."


settings = Settings()


def _changed(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        settings.reset()


setting_changed.connect(_changed, dispatch_uid="django_infinitic.conf")
