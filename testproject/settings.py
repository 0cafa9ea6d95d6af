"""Settings of the example site.

Environment: `DATABASE_URL` (default: `var/demo.sqlite3`), `SECRET_KEY`, `DEBUG`, `ALLOWED_HOSTS`,
`TRAVEL_SECONDS`.
There is no `INFINITIC` setting: the package works without one.
"""

from pathlib import Path
from urllib.parse import quote

import environ

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env.str("SECRET_KEY", default="for the demonstration only")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_infinitic",
    "testproject.travel",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "testproject.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "testproject" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Absolute, so that the site and its workers open the same file wherever they are started; quoted,
# because this is a URL and a checkout may lie under any path.
DATABASES = {
    "default": env.db(
        "DATABASE_URL", default=f"sqlite:///{quote(str(BASE_DIR / 'var' / 'demo.sqlite3'))}"
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # The site and the workers write to one file: wait for the lock instead of failing after 5 s.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("timeout", 30)

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"

# How long the tasks of the travel app take: long enough for a kill to fall in the middle.
TRAVEL_SECONDS = env.float("TRAVEL_SECONDS", default=1.0)
