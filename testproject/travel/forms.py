"""What a visitor fills in."""

from __future__ import annotations

from typing import ClassVar

from django import forms

from .models import Trip


class TripForm(forms.ModelForm):  # type: ignore[type-arg]
    """A trip to book."""

    class Meta:
        model = Trip
        fields: ClassVar[list[str]] = ["destination", "nights"]
