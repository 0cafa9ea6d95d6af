"""Signatures: how arguments and results of a task, method or function are stored."""

from __future__ import annotations

import dataclasses
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Never, NoReturn, get_args, get_origin

from pydantic_core import from_json
from typing_extensions import Unpack, is_typeddict

from django_infinitic.codec.hints import (
    UnresolvedHint,
    function_hints,
    model_in,
    resolved,
    typed_dict_hints,
)
from django_infinitic.codec.places import MISSING, Place
from django_infinitic.codec.values import Payload, ValueCodec, codec_for, model_text, write
from django_infinitic.exceptions import RegistryError, SerializationError

__all__ = ["Signature"]

_EMPTY: Final = inspect.Parameter.empty
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_lock: Final = threading.RLock()
_NO_HINT: Final = (Any, object, "Any", "object", "typing.Any")
_Pair = tuple[ValueCodec, Place]


class Signature:
    """The signature of a task, a workflow method or a function, as a codec.

    `owner` and `name` are stored names ("travel.CarRental", "book"), for error texts. `bound`: the
    first parameter is `self` and no argument. Annotations are resolved at the first use.
    """

    def __init__(self, function: Callable[..., Any], *, owner: str, name: str, bound: bool) -> None:
        self.function = function
        self.bound = bound
        # Of a function task the stored name is the service and the function's own name the task.
        self.full_name = owner if owner.rpartition(".")[2] == name else f"{owner}.{name}"
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if bound:
            parameters = parameters[1:]
        self._signature = signature.replace(parameters=parameters)
        self._parameters = parameters
        self._hints = function_hints(function)
        named = [one for one in parameters if one.kind in _POSITIONAL]
        self._named = named
        self._required = sum(one.default is _EMPTY for one in named)
        # No *args and no keyword without default: then counting binds positional arguments.
        self._simple = not any(
            one.kind is one.VAR_POSITIONAL
            or (one.kind is one.KEYWORD_ONLY and one.default is _EMPTY)
            for one in parameters
        )
        self._codecs: dict[str, _Pair] | None = None
        self._in_order: list[_Pair] = []
        self._rest: _Pair | None = None
        self._others: _Pair | Mapping[str, _Pair] | None = None
        self._place = Place("the arguments", self.full_name)
        self._result_place = Place("result", self.full_name, "", self._line("return"))
        self._result: ValueCodec | None = None
        self._nothing: bool | None = None

    # -- what is written

    def _line(self, name: str) -> str:
        prefix = "async def" if inspect.iscoroutinefunction(self.function) else "def"
        own = self.function.__name__
        if name == "return":
            return f"{prefix} {own}(...) -> {{}}"
        parts = ["self"] if self.bound else []
        names = [one.name for one in self._parameters]
        index = names.index(name)
        if index:
            parts.append("...")
        parts.append(f"{_stars(self._parameters[index])}{name}: {{}}")
        if index < len(names) - 1:
            parts.append("...")
        return f"{prefix} {own}({', '.join(parts)})"

    def _codec(self, name: str) -> ValueCodec:
        raw = self._hints.get(name, MISSING)
        if raw is MISSING:
            return codec_for(MISSING)
        owner = inspect.unwrap(self.function)
        try:
            return codec_for(resolved(raw, owner))
        except UnresolvedHint:
            # Its error shall name the place, and what is missing now may be there then.
            return ValueCodec(raw, lambda: resolved(raw, owner))

    def unannotated(self) -> list[str]:
        """Names of parameters without annotation, and "return"; `Any` and `object` are none."""
        names = [one.name for one in self._parameters] + ["return"]
        return [name for name in names if self._hints.get(name, Any) in _NO_HINT]

    def check(self) -> None:
        """Raise `RegistryError` when a parameter or the result is annotated with a Django model.

        What cannot be resolved yet is left to the first use.
        """
        for name, raw in self._hints.items():
            try:
                model = model_in(resolved(raw, inspect.unwrap(self.function)))
            except UnresolvedHint:
                continue
            if model is not None:
                what = "its result" if name == "return" else f"its parameter {name}"
                raise RegistryError(f"{self.full_name}: {what}: {model_text(model)}")

    def _resolve(self) -> dict[str, _Pair]:
        with _lock:
            if self._codecs is not None:
                return self._codecs
            codecs: dict[str, _Pair] = {}
            in_order: list[_Pair] = []
            for one in self._parameters:
                place = Place("parameter", self.full_name, one.name, self._line(one.name))
                pair = (self._codec(one.name), place)
                if one.kind is one.VAR_POSITIONAL:
                    self._rest = pair
                elif one.kind is one.VAR_KEYWORD:
                    self._others = _unpacked(pair) or pair
                else:
                    if one.kind is not one.POSITIONAL_ONLY:
                        codecs[one.name] = pair
                    if one.kind in _POSITIONAL:
                        in_order.append(pair)
            self._in_order = in_order
            self._codecs = codecs
            return codecs

    def _positional(self, index: int) -> _Pair | None:
        return self._in_order[index] if index < len(self._in_order) else self._rest

    def _keyword(self, name: str) -> _Pair | None:
        found = (self._codecs or {}).get(name)
        if found is not None or self._others is None:
            return found
        if isinstance(self._others, tuple):
            codec, place = self._others
            return codec, dataclasses.replace(place, name=name)
        return self._others.get(name)

    # -- arguments

    def encode_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Payload:
        """The payload of a call: an array, or with keywords an object of `args` and `kwargs`.

        Nothing is filled in: defaults are those of the callee when it runs. Raises `TypeError`
        like a call when the arguments do not fit, `SerializationError`, `PayloadTooLargeError`.
        """
        if self._codecs is None:
            self._resolve()
        if kwargs or not self._simple or not self._required <= len(args) <= len(self._named):
            self._bind(args, kwargs)
        trees = []
        deep = False
        for index, value in enumerate(args):
            pair = self._positional(index)
            assert pair is not None
            deep = deep or pair[0].deep
            trees.append(pair[0].dump(value, pair[1]))
        if not kwargs:
            return write(trees, self._place, deep=deep)
        named = {}
        for name, value in kwargs.items():
            pair = self._keyword(name)
            if pair is None:
                self._wrong(f"got an unexpected keyword argument {name!r}")
            named[name] = pair[0].dump(value, pair[1])
        return write({"args": trees, "kwargs": named}, self._place, deep=True)

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            self._wrong(str(error))

    def _wrong(self, message: str) -> NoReturn:
        raise TypeError(f"{self.full_name}() {message}") from None

    def decode_arguments(self, payload: Payload) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call, as they were given. Raises `SerializationError`."""
        if self._codecs is None:
            self._resolve()
        try:
            tree = from_json(payload, allow_inf_nan=False)
            args, kwargs = (tree, {}) if type(tree) is list else (tree["args"], tree["kwargs"])
        except (ValueError, KeyError, TypeError) as error:
            raise SerializationError(
                f"What is stored as arguments of {self.full_name} is no call: {error}"
            ) from None
        values = []
        for index, item in enumerate(args):
            pair = self._positional(index)
            if pair is None:
                self._gone(f"{len(args)} positional arguments")
            values.append(pair[0].load(item, pair[1]))
        named = {}
        for name, item in kwargs.items():
            pair = self._keyword(name)
            if pair is None:
                self._gone(f"an argument {name}")
            named[name] = pair[0].load(item, pair[1])
        return tuple(values), named

    def _gone(self, what: str) -> NoReturn:
        raise SerializationError(
            f"A call of {self.full_name} was stored with {what}, which its signature "
            f"{self._signature} does not take any more."
        )

    # -- results

    @property
    def result(self) -> ValueCodec:
        """The codec of the result."""
        if self._result is None:
            self._result = self._codec("return")
        return self._result

    def _drops(self) -> bool:
        """Whether the annotation says that nothing is returned."""
        if self._nothing is None:
            try:
                annotation = self.result.annotation
            except SerializationError:
                return False
            self._nothing = annotation in (None, type(None), NoReturn, Never)
        return self._nothing

    def encode_result(self, value: Any) -> Payload:
        """The payload of a result; "-> None" drops it. Raises as `ValueCodec.encode`."""
        if self._drops():
            return "null"
        return self.result.encode(value, self._result_place)

    def decode_result(self, payload: Payload) -> Any:
        """The result of a payload, a fresh one. Raises `SerializationError`."""
        if self._drops():
            return None
        return self.result.decode(payload, self._result_place)


def _stars(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return "*"
    return "**" if parameter.kind is parameter.VAR_KEYWORD else ""


def _unpacked(pair: _Pair) -> dict[str, _Pair] | None:
    """The codecs of `**kwargs: Unpack[SomeTypedDict]`."""
    codec, place = pair
    try:
        annotation: Any = codec.annotation
    except SerializationError:
        return None
    if get_origin(annotation) is not Unpack or not is_typeddict(get_args(annotation)[0]):
        return None
    return {
        name: (codec_for(hint), dataclasses.replace(place, name=name))
        for name, hint in typed_dict_hints(get_args(annotation)[0]).items()
    }
