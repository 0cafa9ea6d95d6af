"""The database of the example site, with the laboratory instead of its apps."""

import json
import os

from testproject.settings import *  # noqa: F403

DEBUG = os.environ.get("LAB_DEBUG") == "1"
# As few as possible: many processes are started.
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_infinitic",
    "lab",
]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "lab.urls"
INFINITIC = json.loads(os.environ.get("LAB_INFINITIC", "{}"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"short": {"format": "%(asctime)s %(process)d %(levelname)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "short"}},
    "loggers": {"django_infinitic": {"handlers": ["console"], "level": "INFO"}},
}

if "LAB_PATIENCE" in os.environ:
    from django_infinitic.worker import watchdog

    watchdog.PATIENCE = float(os.environ["LAB_PATIENCE"])  # type: ignore[misc]
