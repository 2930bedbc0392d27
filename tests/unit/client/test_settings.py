"""Where a client finds the server and what it shows there."""

import pytest

import tasker_core
from tasker_core.client import TaskerClient
from tasker_core.client.settings import ClientSettings


def headers(**given):
    return ClientSettings.of(**given).headers


def test_without_settings_it_is_the_server_of_this_machine():
    settings = ClientSettings.of(environment={})

    assert (settings.base_url, settings.timeout, settings.max_retries) == ("http://localhost:8080", 30.0, 3)
    assert settings.headers == {
        "Accept": "application/json",
        "User-Agent": f"tasker-core-python/{tasker_core.__version__}",
    }


def test_the_environment_names_the_server_and_the_timeout():
    variables = {"TASKER_ORCHESTRATION_URL": "https://tasker.example/", "TASKER_ORCHESTRATION_TIMEOUT_MS": "1500"}
    settings = ClientSettings.of(environment=variables)

    assert (settings.base_url, settings.timeout) == ("https://tasker.example", 1.5)


def test_what_is_given_goes_before_the_environment():
    variables = {"TASKER_ORCHESTRATION_URL": "https://tasker.example", "TASKER_ORCHESTRATION_TIMEOUT_MS": "1500"}
    settings = ClientSettings.of(base_url="http://other:1", timeout=2.5, environment=variables)

    assert (settings.base_url, settings.timeout) == ("http://other:1", 2.5)


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"TASKER_API_KEY": "k"}, ("X-API-Key", "k")),
        ({"TASKER_API_KEY": "k", "TASKER_API_KEY_HEADER": "X-Shop"}, ("X-Shop", "k")),
        ({"TASKER_API_KEY": "k", "TASKER_AUTH_TOKEN": "t"}, ("Authorization", "Bearer t")),
        ({"TASKER_AUTH_TOKEN": "t", "TASKER_ORCHESTRATION_AUTH_TOKEN": "o"}, ("Authorization", "Bearer o")),
    ],
)
def test_credentials_of_the_environment_have_an_order(variables, shown):
    found = headers(environment=variables)
    assert {name: value for name, value in found.items() if name not in {"Accept", "User-Agent"}} == dict([shown])


def test_a_given_key_is_shown_even_where_the_environment_has_a_token():
    found = headers(api_key="mine", environment={"TASKER_AUTH_TOKEN": "t"})

    assert found["X-API-Key"] == "mine"
    assert "Authorization" not in found


@pytest.mark.parametrize(
    "given",
    [{"base_url": "localhost:8080"}, {"base_url": "ftp://host"}, {"timeout": 0}, {"timeout": -1}, {"max_retries": -1}],
)
def test_a_setting_that_cannot_be_used_is_refused(given):
    with pytest.raises(ValueError, match=next(iter(given)).replace("base_", "").replace("url", "URL")):
        TaskerClient(**given)


def test_a_timeout_that_is_no_number_is_named():
    with pytest.raises(ValueError, match="TASKER_ORCHESTRATION_TIMEOUT_MS must be a number"):
        ClientSettings.of(environment={"TASKER_ORCHESTRATION_TIMEOUT_MS": "soon"})
