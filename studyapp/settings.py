"""Settings of the study. Everything that differs between machines comes from the environment.

====================  ===========================================================================
STUDY_BASE_URL        the address participants see; hosts, CSRF origins and secure cookies follow
DATABASE_URL          a PostgreSQL of your own; unset: the embedded one that ``manage.py demo`` runs
CELERY_BROKER_URL     Redis or RabbitMQ; unset: message files under DEMO_HOME
SECRET_KEY(_FILE)     unset: generated once into DEMO_HOME/secret_key, readable by its owner only
FSPO_ENGINE           ``local``, ``local:/checkpoint`` or ``package.module:factory``
DEMO_HOME             data folder of the embedded services; default ``.demo`` beside manage.py
DATABASE_POOL_SIZE    connections a process may hold; times the processes, below max_connections
DJANGO_DEBUG          ``1`` for development only
====================  ===========================================================================
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from kombu.entity import Exchange, Queue

from studyapp import environment

BASE_DIR = Path(__file__).resolve().parent.parent
DEMO_HOME = environment.demo_home(BASE_DIR)

DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
SECRET_KEY = environment.secret_key(DEMO_HOME)
FSPO_ENGINE = os.environ.get("FSPO_ENGINE", "local")

STUDY_BASE_URL = os.environ.get("STUDY_BASE_URL", "http://127.0.0.1:8000").rstrip("/")
SITE = environment.parse_base_url(STUDY_BASE_URL)
ALLOWED_HOSTS = list(SITE.hosts)
CSRF_TRUSTED_ORIGINS = list(SITE.origins)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SITE.is_https
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if SITE.is_https:
    # The proxy that ends TLS must set this header itself and drop the client's own.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 30 * 24 * 3600

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "rest_framework",
    "csp",
    "studyapp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "studyapp.urls"
WSGI_APPLICATION = "studyapp.wsgi.application"
LOGIN_URL = "admin:login"
CSRF_FAILURE_VIEW = "studyapp.participants.csrf.csrf_failure"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# One process serves up to DATABASE_POOL_SIZE threads; the pool checks a connection before it hands
# it out, so that a database restart costs no request. Persistent connections would defeat the pool.
DATABASE_POOL = {
    "min_size": 1,
    "max_size": int(os.environ.get("DATABASE_POOL_SIZE", "8")),
    "timeout": 10,
}
DATABASE_IS_KNOWN = environment.database_url(DEMO_HOME) != environment.NO_DATABASE
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        **environment.database(DEMO_HOME),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **({"pool": DATABASE_POOL} if DATABASE_IS_KNOWN else {}),
            **environment.database_options(DEMO_HOME),
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "studyapp_cache",
    }
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator")
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT", DEMO_HOME / "static"))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}

# -- Celery: wake-ups only. Slow model work and quick upkeep have a queue each, so that a sweep or
# a heartbeat never waits behind a generation. A worker started without -Q serves both.
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "filesystem://localhost/")
CELERY_BROKER_TRANSPORT_OPTIONS = environment.broker_options(CELERY_BROKER_URL, DEMO_HOME)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_QUEUES = tuple(
    Queue(name, Exchange(name), routing_key=name) for name in ("upkeep", "models")
)
CELERY_TASK_DEFAULT_QUEUE = "upkeep"
CELERY_TASK_ROUTES = {
    f"studyapp.tasks.{name}": {"queue": "models"} for name in ("generate", "predict_labels")
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_BEAT_SCHEDULE = {
    # A wake-up that nobody read within its interval is dropped: the next one says the same.
    name: {"task": f"studyapp.tasks.{name}", "schedule": seconds, "options": {"expires": seconds}}
    for name, seconds in (
        ("sweep", 5.0),
        ("heartbeat", 10.0),
        ("predict_labels", 15.0),
        ("snapshot", 15.0),
    )
}
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # nothing to remember, so no file to spoil

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "studyapp.logs.DiscreetFormatter",
            "format": "%(asctime)sZ %(levelname)s %(name)s %(process)d %(message)s",
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
    },
}
