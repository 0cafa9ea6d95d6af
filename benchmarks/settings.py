"""Settings of the benchmarks: those of the example site, with an app of their own."""

from testproject.settings import *  # noqa: F403

INSTALLED_APPS += ["benchmarks.app"]  # noqa: F405
DEBUG = False
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "root": {"handlers": ["null"], "level": "ERROR"},
}
