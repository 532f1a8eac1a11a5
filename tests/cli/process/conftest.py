from tests.helpers.service_process import http, service  # noqa: F401 - fixtures
