"""The checker is checked: a good history breaks no rule, and each bad one breaks exactly the rule it was written for."""

import unittest

from .history import History, Rule

A0, A1, A2, B0 = ("a", 0), ("a", 1), ("a", 2), ("b", 0)


def good() -> History:
    history = History()
    for offset, value in enumerate((A0, A1, A2)):
        history.sent(value, 0)
        history.acknowledged(value, offset)
        history.read("tail", 0, offset, value)
    history.read_at_last([(0, 0, A0), (0, 1, A1), (0, 2, A2)])
    return history


class Histories(unittest.TestCase):
    def breaks(self, history: History, *rules: Rule) -> None:
        self.assertEqual(sorted({violation.rule for violation in history.violations()}), sorted(rules))

    def test_a_good_history_breaks_no_rule(self) -> None:
        self.breaks(good())

    def test_an_unanswered_send_may_be_there_or_not(self) -> None:
        history = good()
        history.sent(B0, 0)
        self.breaks(history)
        history.read_at_last([(0, 0, A0), (0, 1, A1), (0, 2, A2), (0, 3, B0)])
        self.breaks(history)

    def test_an_acknowledged_value_without_an_offset_has_to_be_there(self) -> None:
        history = good()
        history.sent(B0, 0)
        history.acknowledged(B0, None)
        self.breaks(history, Rule.LOST)
        history.read_at_last([(0, 0, A0), (0, 1, A1), (0, 2, A2), (0, 3, B0)])
        self.breaks(history)

    def test_a_lost_tail_is_lost_and_vanished(self) -> None:
        history = good()
        history.read_at_last([(0, 0, A0), (0, 1, A1)])
        self.breaks(history, Rule.LOST, Rule.VANISHED)

    def test_an_unacknowledged_value_that_was_read_may_not_vanish(self) -> None:
        history = good()
        history.sent(B0, 0)
        history.read("tail", 0, 3, B0)
        self.breaks(history, Rule.VANISHED)

    def test_two_values_at_one_offset(self) -> None:
        history = good()
        history.sent(B0, 0)
        history.read("other", 0, 1, B0)
        self.breaks(history, Rule.INCONSISTENT_OFFSET)

    def test_an_acknowledged_value_that_moved(self) -> None:
        history = good()
        history.sent(B0, 0)
        history.acknowledged(B0, 3)
        history.sent(("b", 1), 0)
        history.read_at_last([(0, 0, A0), (0, 1, A1), (0, 2, A2), (0, 3, ("b", 1)), (0, 4, B0)])
        self.breaks(history, Rule.INCONSISTENT_OFFSET, Rule.MOVED, Rule.SENDS_OUT_OF_ORDER, Rule.ACKNOWLEDGED_LATE_IS_EARLIER)

    def test_a_value_written_twice(self) -> None:
        history = good()
        history.read_at_last([(0, 0, A0), (0, 1, A1), (0, 2, A2), (0, 3, A2)])
        self.breaks(history, Rule.DUPLICATE, Rule.MOVED)

    def test_a_refused_value_that_is_there(self) -> None:
        history = good()
        history.sent(B0, 0)
        history.refused(B0)
        history.read_at_last([(0, 0, A0), (0, 1, A1), (0, 2, A2), (0, 3, B0)])
        self.breaks(history, Rule.REFUSED_BUT_READ)

    def test_bytes_that_nobody_sent(self) -> None:
        history = good()
        history.read_at_last([(0, 0, A0), (0, 1, A1), (0, 2, A2), (0, 3, None)])
        self.breaks(history, Rule.UNKNOWN_VALUE)

    def test_a_producers_sends_in_the_wrong_order(self) -> None:
        history = History()
        for value in (A0, A1):
            history.sent(value, 0)
        history.acknowledged(A0, 1)
        history.acknowledged(A1, 0)
        history.read_at_last([(0, 0, A1), (0, 1, A0)])
        self.breaks(history, Rule.SENDS_OUT_OF_ORDER)

    def test_a_send_after_an_acknowledgement_comes_after_it(self) -> None:
        history = History()
        history.sent(A0, 0)
        history.acknowledged(A0, 1)
        history.sent(B0, 0)
        history.acknowledged(B0, 0)
        history.read_at_last([(0, 0, B0), (0, 1, A0)])
        self.breaks(history, Rule.ACKNOWLEDGED_LATE_IS_EARLIER)

    def test_a_reader_that_skips(self) -> None:
        history = good()
        history.read("other", 0, 0, A0)
        history.read("other", 0, 2, A2)
        self.breaks(history, Rule.POLL_SKIPPED)

    def test_a_reader_that_goes_back(self) -> None:
        history = good()
        history.read("other", 0, 1, A1)
        history.read("other", 0, 0, A0)
        self.breaks(history, Rule.POLL_WENT_BACK)

    def test_a_gap_in_the_log(self) -> None:
        history = History()
        history.sent(A0, 0)
        history.sent(A1, 0)
        history.read_at_last([(0, 0, A0), (0, 2, A1)])
        self.breaks(history, Rule.POLL_SKIPPED)

    def test_an_end_that_goes_back(self) -> None:
        history = good()
        history.end_seen(0, 3)
        history.end_seen(0, 2)
        self.breaks(history, Rule.END_WENT_BACK)


if __name__ == "__main__":
    unittest.main()
