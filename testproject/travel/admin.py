from __future__ import annotations

from django.contrib import admin

from .models import LedgerEntry, Trip


@admin.register(Trip)
class TripAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("__str__", "status", "created_at")
    list_filter = ("status",)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("trip", "act", "what", "began_at", "ended_at", "note")
