"""A fork server: real processes, their exit codes, and what happens if it or its client fails."""

import os
import resource
import select
import signal
from contextlib import suppress

import pytest

from costcurve.runtime.fork_server import UNKNOWN, ForkServer
from tests.helpers.forked import fail, leave, stay, write
from tests.helpers.processes import is_running, until


@pytest.fixture
def server():
    server = ForkServer(["json", "tests.helpers.forked"])
    yield server
    server.kill()


def test_a_process_calls_the_function_with_what_was_imported_already_and_its_own_descriptors(server):
    reader, writer = os.pipe()
    process = server.start(write, "hello", descriptors=[writer])
    os.close(writer)
    process.join(30)

    assert os.read(reader, 100) == b"hello True"
    assert os.read(reader, 100) == b""  # nobody else holds the writing end, not the server either
    assert process.exitcode == 0
    os.close(reader)


@pytest.mark.parametrize(("function", "arguments", "code"), [(leave, (7,), 7), (fail, (), 1)])
def testleave_codes_are_those_of_an_interpreter(server, function, arguments, code):
    process = server.start(function, *arguments)
    process.join(30)
    assert process.exitcode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_process_and_is_told(server, number):
    process = server.start(stay)
    if number == signal.SIGTERM:
        process.terminate()  # as soon as it is forked: it must not be lost
    else:
        until(lambda: process.is_alive() and process.pid, bool)
        process.kill()
    process.join(30)
    assert process.exitcode == -number


def test_a_start_does_notstay_for_a_server_that_stands_still_and_terminate_ends_it(server):
    first = server.start(leave, 0)
    first.join(30)
    os.kill(server._process.pid, signal.SIGSTOP)
    process = server.start(stay)
    process.join(0.01)
    assert (process.is_alive(), process.pid) == (True, None)

    process.terminate()
    process.join(30)
    assert (process.exitcode, process.pid) == (UNKNOWN, None)
    assert process.error is not None
    again = server.start(leave, 3)
    again.join(30)
    assert again.exitcode == 3


def test_a_process_whose_server_dies_is_ended_and_the_next_request_starts_another(server):
    reader, writer = os.pipe()
    process = server.start(stay, descriptors=[writer])
    os.close(writer)
    assert os.read(reader, 1) == b"!"
    os.kill(server._process.pid, signal.SIGKILL)  # as soon as the process works: it must be known by then
    process.join(30)

    assert process.pid is not None
    assert process.exitcode == UNKNOWN
    until(lambda: is_running(process.pid), lambda running: not running)
    again = server.start(leave, 5)
    again.join(30)
    assert again.exitcode == 5
    os.close(reader)


def test_processes_and_the_server_survive_a_signal_to_their_group_if_they_choose_to(server):
    reader, writer = os.pipe()
    process = server.start(stay, descriptors=[writer])
    os.close(writer)
    assert os.read(reader, 1) == b"!"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(server._process.pid, number)
    other = server.start(leave, 0)
    other.join(30)

    assert (process.is_alive(), other.exitcode) == (True, 0)
    process.kill()
    process.join(30)
    os.close(reader)


def test_without_descriptors_a_start_fails_and_nothing_else_does(server):
    reader, writer = os.pipe()
    process = server.start(stay, descriptors=[writer])
    os.close(writer)
    assert os.read(reader, 1) == b"!"
    for pid in (os.getpid(), server._process.pid):
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            refused = None
            with suppress(OSError):
                refused = server.start(leave, 0)
                if refused is not None:
                    until(refused.is_alive, lambda alive: not alive, timeout=30)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert refused is None or refused.error is not None
        assert process.is_alive()

    works = server.start(leave, 0)
    works.join(30)
    assert works.exitcode == 0
    process.kill()
    process.join(30)
    os.close(reader)


def test_the_server_ends_with_its_client(server):
    process = server.start(leave, 0)
    process.join(30)
    pid = server._process.pid
    server._requests.close()
    watched = os.pidfd_open(pid)
    assert select.select([watched], [], [], 30)[0]
    os.close(watched)
