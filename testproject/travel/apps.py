from django.apps import AppConfig


class TravelConfig(AppConfig):
    """Trips: the app of the demonstration."""

    name = "testproject.travel"
    label = "travel"
    default_auto_field = "django.db.models.BigAutoField"
