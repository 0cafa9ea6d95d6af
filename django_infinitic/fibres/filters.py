"""JSONPath filters of receives (RFC 9535); the only module that imports the library."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from django_infinitic.exceptions import InvalidChannelUsageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


@functools.lru_cache(maxsize=512)
def query(path: str) -> Callable[[Any], bool]:
    """Whether a JSONPath finds anything in a message; a leading filter tests the message itself."""
    try:
        from jsonpath import JSONPathEnvironment
        from jsonpath.exceptions import JSONPathError
    except ImportError:
        raise UsageError(
            "receive(jsonpath=...) needs a library: pip install 'django-infinitic[jsonpath]'"
        ) from None
    try:
        compiled = JSONPathEnvironment(strict=True).compile(path)
    except (JSONPathError, TypeError) as error:
        raise InvalidChannelUsageError(
            f"receive(jsonpath={path!r}) is no JSONPath query (RFC 9535): {error}"
        ) from error
    leading = path.lstrip().startswith("$[?")

    def found(view: Any) -> bool:
        return any(True for _ in compiled.finditer([view] if leading else view))

    return found
