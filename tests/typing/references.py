"""References to rows. (T16)"""

from __future__ import annotations

from typing import assert_type

from django.contrib.auth.models import Group, User

from django_infinitic import Ref, client, get_workflow_by_custom_id, new_workflow
from tests.typing.contracts import Booking


def refers(user: User, group: Group) -> None:
    ref = Ref(user)
    assert_type(ref, Ref[User])
    assert_type(ref.get(), User)
    mixed: Ref[Group] = ref  # type: ignore[assignment]
    Ref(3)  # type: ignore[type-var]
    new_workflow(Booking, custom_id=user, tags=[group, ref, "red"])
    get_workflow_by_custom_id(Booking, ref)
    client.get_handle(Booking.book, custom_id=user)
    client.get_workflow_by_tag(Booking, group)
    client.get_workflow_by_tag(Booking, 3)  # type: ignore[arg-type]


async def reads(ref: Ref[User]) -> None:
    assert_type(await ref.aget(), User)
