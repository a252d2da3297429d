"""How wrong passwords are slowed down, by a clock of the test's own."""

from dataclasses import dataclass

import pytest

from flows.ui.tries import FORGIVEN_SECONDS, FREE, LONGEST_SECONDS, MOST_CLIENTS, Tries


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="tries")
def _tries(clock: Clock) -> Tries:
    return Tries(clock)


def guess(tries: Tries, times: int, address: str = "10.0.0.1", first: int = 0) -> None:
    for number in range(first, first + times):
        tries.wrong(address, b"ann:%d" % number)


def test_pause_doubles_up_to_a_minute_and_then_ends_when_a_client_guesses(tries: Tries, clock: Clock) -> None:
    guess(tries, FREE)
    assert tries.pause("10.0.0.1") == 0
    pauses = []
    for number in range(10):
        guess(tries, 1, first=FREE + number)
        pauses.append(tries.pause("10.0.0.1"))
    assert pauses == [1, 2, 4, 8, 16, 32, *[LONGEST_SECONDS] * 4]
    clock.now += LONGEST_SECONDS
    assert tries.pause("10.0.0.1") == 0
    assert tries.pause("10.0.0.2") == 0


def test_pause_is_none_when_one_wrong_password_is_given_again_and_again(tries: Tries) -> None:
    for _ in range(100):
        tries.wrong("10.0.0.1", b"ann:old")
    assert tries.pause("10.0.0.1") == 0


def test_pause_counts_a_whole_network_when_addresses_are_ipv6(tries: Tries) -> None:
    for number in range(FREE + 1):
        tries.wrong(f"2001:db8::{number}", b"%d" % number)
    assert tries.pause("2001:db8::ffff:1") == 1
    assert tries.pause("2001:db8:0:1::1") == 0
    guess(tries, FREE + 1, "::ffff:10.0.0.1")
    assert tries.pause("10.0.0.1") == 1


def test_wrong_starts_anew_when_the_last_one_was_long_ago(tries: Tries, clock: Clock) -> None:
    guess(tries, FREE + 3)
    clock.now += FORGIVEN_SECONDS + 1
    guess(tries, 1, first=100)
    assert tries.pause("10.0.0.1") == 0


def test_wrong_keeps_a_bounded_number_of_clients_when_many_guess(tries: Tries) -> None:
    guess(tries, FREE + 1, "10.1.1.1")
    for number in range(3 * MOST_CLIENTS):
        guess(tries, 1, f"10.0.{number // 256}.{number % 256}")
        if number % 100 == 0:
            guess(tries, 1, "10.1.1.1", first=number)
    assert len(tries) == MOST_CLIENTS
    assert tries.pause("10.1.1.1") > 0
