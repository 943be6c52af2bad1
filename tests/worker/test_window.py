"""Where to go on after a cut."""

from __future__ import annotations

import pytest

from runner_service.worker.window import START, Mark, Window


@pytest.fixture
def window() -> Window:
    window = Window()
    for mark in (Mark(3, 300), Mark(5, 500), Mark(9, 900)):
        window.push(mark)
    return window


def test_an_acknowledgement_commits_whole_batches(window: Window) -> None:
    assert window.acknowledge(4)
    assert (window.committed, len(window)) == (Mark(3, 300), 2)
    assert window.acknowledge(9)
    assert (window.committed, window.sent, len(window)) == (Mark(9, 900), Mark(9, 900), 0)


def test_a_server_that_takes_back_what_it_acknowledged_is_noticed(window: Window) -> None:
    assert window.acknowledge(5)
    assert not window.acknowledge(4)


@pytest.mark.parametrize(
    ("next_sequence", "mark"),
    [
        (0, START),
        (2, START),  # In the middle of a batch: from its start, and what is there is passed over.
        (3, Mark(3, 300)),
        (8, Mark(5, 500)),
        (12, Mark(9, 900)),  # Another worker had shipped more.
    ],
)
def test_a_new_stream_begins_at_the_last_known_mark(window: Window, next_sequence: int, mark: Mark) -> None:
    assert window.resume(next_sequence) == mark
    assert (window.committed, window.sent, len(window)) == (mark, mark, 0)


def test_a_server_that_lost_what_it_had_gets_all_from_the_start(window: Window) -> None:
    window.acknowledge(9)
    assert window.resume(4) == START


def test_what_was_given_up_cannot_be_sent_again(window: Window) -> None:
    window.acknowledge(5)
    window.give_up()
    assert window.resume(7) == Mark(5, 500)
    assert window.resume(4) == Mark(5, 500)


def test_an_adopted_log_begins_where_its_journal_does() -> None:
    window = Window(Mark(5, 500))
    assert (window.committed, window.sent) == (Mark(5, 500), Mark(5, 500))
    assert window.resume(8) == Mark(5, 500)
