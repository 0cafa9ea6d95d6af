"""The setting INFINITIC."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_infinitic.conf import Settings, settings


def with_setting(**values) -> Settings:
    """The settings as they are read under INFINITIC = values."""
    found = Settings()
    with override_settings(INFINITIC=values):
        list(found.problems())  # reads all that can be read
    return found


def problem_of(**values) -> str:
    with override_settings(INFINITIC=values):
        problems = list(Settings().problems())
    assert len(problems) == 1
    return f"{problems[0].message} {problems[0].hint}".strip()


class TestDefaults:
    def test_it_works_without_any_setting(self) -> None:
        found = with_setting()
        assert (found.storage.scheme, found.storage.alias) == ("database", "default")
        assert (found.transport.scheme, found.database) == ("database", "default")
        assert found.retention == timedelta(days=30)
        assert (found.payload_limit, found.atomic_tasks) == (2_000_000, False)
        assert (found.result_timeout, found.site_url) == (None, "")
        assert (found.link_max_age, found.admin) == (timedelta(days=3), True)
        assert (found.segment_timeout, found.task_max_seconds, found.parts) == (10, 3600, 8)
        assert list(found.problems()) == []


class TestBackends:
    def test_a_database_is_named_by_its_alias(self) -> None:
        found = with_setting(STORAGE="database://engine")
        assert (found.storage.options, found.database) == ({"alias": "engine"}, "engine")
        assert with_setting(STORAGE="database://").database == "default"

    def test_memory_has_nothing_to_say(self) -> None:
        found = with_setting(STORAGE="memory://", TRANSPORT="memory://")
        assert (found.storage.scheme, found.storage.options) == ("memory", {})
        assert found.database == "default"

    @pytest.mark.parametrize(
        "url",
        [
            "redis://user:secret@host:6379/0",
            "rediss://host:6379/0",
            "unix:///run/redis.sock?db=0",
            "redis+sentinel://host:26379/main/0",
        ],
    )
    def test_the_address_of_redis_stays_whole(self, url: str) -> None:
        found = with_setting(STORAGE=url).storage
        assert (found.scheme, found.options) == ("redis", {"url": url})

    def test_own_options_of_redis_are_taken_out_of_its_address(self) -> None:
        found = with_setting(STORAGE="unix:///run/redis.sock?db=2&prefix=shop:").storage
        assert found.options == {"url": "unix:///run/redis.sock?db=2", "prefix": "shop:"}

    def test_an_address_of_pulsar_is_taken_apart(self) -> None:
        url = "pulsar+ssl://host:6651/public/shop?admin=https://host:8443&name=web"
        found = with_setting(TRANSPORT=url).transport
        assert found.scheme == "pulsar"
        assert found.options == {
            "service_url": "pulsar+ssl://host:6651",
            "tenant": "public",
            "namespace": "shop",
            "admin_url": "https://host:8443",
            "name": "web",
        }

    def test_a_backend_may_be_written_out(self) -> None:
        found = with_setting(
            TRANSPORT={
                "BACKEND": "django_infinitic.transports.pulsar.PulsarTransport",
                "OPTIONS": {"token": "x"},
            },
            STORAGE={"BACKEND": "shop.storage.OurStorage", "OPTIONS": {"alias": "other"}},
        )
        assert (found.transport.scheme, found.transport.options) == ("pulsar", {"token": "x"})
        assert (found.storage.scheme, found.database) == ("", "other")

    def test_a_class_that_is_not_there_is_told(self) -> None:
        found = with_setting(STORAGE={"BACKEND": "shop.storage.OurStorage"}).storage
        with pytest.raises(ImproperlyConfigured, match=r"shop\.storage\.OurStorage"):
            found.load()

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("databse://default", "did you mean database://?"),
            ("default", "must begin with one of database://, memory://, redis://"),
            ("pulsar://host:6650/public/default", "must begin with"),
            ("database://default/more", "an alias and no more"),
            ({"BACKEND": "x.Y", "OPTION": {}}, "unknown key OPTION"),
            ({"OPTIONS": {}}, "needs a BACKEND"),
            ({"BACKEND": "x.Y", "OPTIONS": []}, "OPTIONS that are no dict"),
            (5, "must be a URL"),
        ],
        ids=str,
    )
    def test_a_wrong_one_is_told(self, value, words: str) -> None:
        text = problem_of(STORAGE=value)
        assert text.startswith('INFINITIC["STORAGE"] ')
        assert words in text

    def test_a_namespace_of_pulsar_is_needed(self) -> None:
        assert "tenant and namespace" in problem_of(TRANSPORT="pulsar://host:6650")

    def test_a_password_is_not_shown(self) -> None:
        assert "secret" not in problem_of(STORAGE="redsi://user:secret@host:6379/0")


class TestValues:
    def test_durations_are_timedeltas_or_seconds(self) -> None:
        found = with_setting(RETENTION=60, RESULT_TIMEOUT=timedelta(minutes=1), SEGMENT_TIMEOUT=2.5)
        assert found.retention == timedelta(minutes=1)
        assert (found.result_timeout, found.segment_timeout) == (60, 2.5)
        assert with_setting(RETENTION=None).retention is None

    def test_a_site_url_loses_its_last_slash(self) -> None:
        assert with_setting(SITE_URL="https://shop.example/").site_url == "https://shop.example"

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("RETENTION", timedelta(0)),
            ("RETENTION", "30d"),
            ("RETENTION", float("inf")),
            ("LINK_MAX_AGE", None),
            ("PAYLOAD_LIMIT", 0),
            ("PAYLOAD_LIMIT", 1.5),
            ("PARTS", True),
            ("ATOMIC_TASKS", 1),
            ("ADMIN", "no"),
            ("SITE_URL", "shop.example"),
            ("SEGMENT_TIMEOUT", 0),
            ("TASK_MAX_SECONDS", None),
        ],
    )
    def test_a_wrong_one_is_told_and_raises_when_it_is_used(self, key: str, value) -> None:
        assert problem_of(**{key: value}).startswith(f'INFINITIC["{key}"] ')
        with override_settings(INFINITIC={key: value}):
            with pytest.raises(ImproperlyConfigured, match=key):
                getattr(Settings(), key.lower())

    def test_an_unknown_key_is_told_with_the_nearest(self) -> None:
        assert problem_of(RETENTON=5) == (
            "INFINITIC has an unknown key 'RETENTON'. Did you mean \"RETENTION\"?"
        )
        assert 'Did you mean "STORAGE"?' in problem_of(storage="memory://")
        assert "It takes STORAGE, TRANSPORT" in problem_of(x=1)

    def test_it_must_be_a_dict(self) -> None:
        with override_settings(INFINITIC=["STORAGE"]):
            (problem,) = Settings().problems()
        assert "must be a dict" in problem.message


def test_a_change_in_a_test_is_seen_at_once() -> None:
    before = settings.parts
    with override_settings(INFINITIC={"PARTS": 3}):
        assert settings.parts == 3
    assert settings.parts == before
