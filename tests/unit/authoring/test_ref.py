"""References to rows, as values."""

import copy
import json
import pickle
from dataclasses import dataclass
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.sessions.models import Session
from django.db import models
from django.utils.functional import SimpleLazyObject

from django_infinitic.authoring import runtime
from django_infinitic.authoring.ref import Ref
from django_infinitic.codec import Place, codec_for
from django_infinitic.exceptions import DatabaseAccessError, SerializationError, UsageError

PLACE = Place("parameter", "bank.Transfer.run", "user")


class Parcel(models.Model):  # noqa: DJ008
    id = models.UUIDField(primary_key=True)

    class Meta:
        app_label = "ref_tests"
        managed = False


class Label(models.Model):  # noqa: DJ008
    parcel = models.OneToOneField(Parcel, models.CASCADE, primary_key=True)

    class Meta:
        app_label = "ref_tests"
        managed = False


class Stop(models.Model):  # noqa: DJ008
    pk = models.CompositePrimaryKey("parcel_id", "number")
    parcel = models.ForeignKey(Parcel, models.CASCADE)
    number = models.IntegerField()

    class Meta:
        app_label = "ref_tests"
        managed = False


class Staff(User):
    class Meta:
        app_label = "ref_tests"
        proxy = True


@dataclass
class Order:
    user: Ref[User]
    watchers: list[Ref[User]]


def saved(instance):
    """As if it had been saved: these tests touch no database."""
    instance._state.adding = False
    return instance


def through_json(annotation, value):
    codec = codec_for(annotation)
    payload = codec.encode(value, PLACE)
    return json.loads(payload), codec.decode(payload, PLACE)


class TestMaking:
    def test_it_refers_to_a_saved_row(self) -> None:
        ref = Ref(saved(User(pk=7)))
        assert (ref.model, ref.pk) == (User, 7)
        assert repr(ref) == "Ref(auth.user:7)"
        assert ref.tag == "auth.user:7"

    def test_a_lazy_object_is_unwrapped(self) -> None:
        user = saved(User(pk=7))
        lazy = SimpleLazyObject(lambda: SimpleLazyObject(lambda: user))
        assert Ref(lazy).model is User
        assert Ref(lazy) == Ref(user)

    def test_what_is_not_saved_is_refused(self) -> None:
        for instance in (User(), User(pk=7), Parcel(id=UUID(int=1))):
            with pytest.raises(UsageError, match="not saved"):
                Ref(instance)

    def test_what_is_no_row_is_refused(self) -> None:
        for thing in (AnonymousUser(), 7, "auth.user:7", None, User):
            with pytest.raises(UsageError, match="saved row of a model"):
                Ref(thing)

    def test_equal_is_what_has_model_and_key(self) -> None:
        one, same = Ref(saved(User(pk=7))), Ref.of(User, 7)
        assert one == same
        assert hash(one) == hash(same)
        assert one == Ref.of(Staff, 7)
        assert len({one, same, Ref.of(Group, 7), Ref.of(User, 8)}) == 3
        assert one != 7

    def test_it_cannot_be_changed_but_copied(self) -> None:
        ref = Ref.of(User, 7)
        with pytest.raises(AttributeError, match="cannot be changed"):
            ref._pk = 8
        assert copy.deepcopy(ref) == pickle.loads(pickle.dumps(ref)) == ref


class TestStoring:
    @pytest.mark.parametrize(
        ("annotation", "ref", "tree"),
        [
            (Ref[User], Ref.of(User, 7), 7),
            (Ref[Session], Ref.of(Session, "key"), "key"),
            (Ref[Parcel], Ref.of(Parcel, UUID(int=5)), str(UUID(int=5))),
            (Ref[Label], Ref.of(Label, UUID(int=5)), str(UUID(int=5))),
            (Ref[Stop], Ref.of(Stop, (UUID(int=5), 2)), [str(UUID(int=5)), 2]),
            (Ref[User] | None, Ref.of(User, 7), 7),
            (list[Ref[User]], [Ref.of(User, 7)], [7]),
        ],
        ids=str,
    )
    def test_it_is_stored_as_its_key(self, annotation, ref, tree) -> None:
        stored, again = through_json(annotation, ref)
        assert stored == tree
        assert again == ref
        if isinstance(ref, Ref):
            assert type(again.pk) is type(ref.pk)

    def test_in_a_dataclass_too(self) -> None:
        order = Order(user=Ref.of(User, 7), watchers=[Ref.of(User, 8)])
        stored, again = through_json(Order, order)
        assert stored == {"user": 7, "watchers": [8]}
        assert again == order

    @pytest.mark.parametrize("value", [Ref.of(Group, 7), 7, saved(User(pk=7))], ids=str)
    def test_a_ref_of_another_model_and_what_is_none_is_refused(self, value) -> None:
        with pytest.raises(SerializationError):
            codec_for(Ref[User]).encode(value, PLACE)

    @pytest.mark.parametrize("payload", ['"x"', "null", "[1]", "{}", "true"])
    def test_what_is_no_key_is_refused(self, payload) -> None:
        with pytest.raises(SerializationError):
            codec_for(Ref[User]).decode(payload, PLACE)

    def test_the_model_must_be_named(self) -> None:
        with pytest.raises(SerializationError):
            codec_for(Ref).encode(Ref.of(User, 7), PLACE)


class TestReading:
    def test_in_workflow_code_it_is_refused(self) -> None:
        ref = Ref.of(User, 7)
        with runtime.running(object()):  # type: ignore[arg-type]
            for read in (ref.get, ref.queryset):
                with pytest.raises(DatabaseAccessError, match="Hand the Ref to a task"):
                    read()

    def test_elsewhere_it_is_a_queryset_of_the_base_manager(self) -> None:
        ref = Ref.of(User, 7)
        assert ref.queryset().model is User
        assert '"auth_user"."id" = 7' in str(ref.queryset().query)
        with runtime.running(object()), runtime.inlining():  # type: ignore[arg-type]
            ref.queryset()
