"""The example site with the laboratory instead of its own apps."""

import json
import os

from testproject.settings import *  # noqa: F403
from testproject.settings import INSTALLED_APPS

DEBUG = os.environ.get("LAB_DEBUG") == "1"
INSTALLED_APPS = [one for one in INSTALLED_APPS if not one.startswith("testproject.")] + ["lab"]
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
