from tests.helpers.service_process import at_work, http, service  # noqa: F401 - fixtures
