"""Free-form JSON comes back as it came."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_service.domain.json_text import members_of, mend_continued_lines, object_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES), st.sampled_from([None, 1, 3]))
def test_members_put_together_again_are_the_object(value: dict[str, object], indent: int | None) -> None:
    text = f" \n{json.dumps(value, indent=indent)}\t"
    members = members_of(text)
    assert {name: json.loads(member) for name, member in members.items()} == value
    assert json.loads(object_of(members)) == value


def test_numbers_keep_their_digits() -> None:
    text = '{"a": 1.10, "b": 1e400, "c": 123456789012345678901234567890.0, "d": {"e": -0.0}}'
    assert members_of(text) == {"a": "1.10", "b": "1e400", "c": "123456789012345678901234567890.0", "d": '{"e": -0.0}'}


def test_of_a_repeated_member_the_last_counts() -> None:
    assert members_of('{"a": 1, "a": [2]}') == {"a": "[2]"}


@pytest.mark.parametrize("text", ["[]", "1", '"x"', ""])
def test_what_is_no_object_has_no_members(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        members_of(text)


def test_lines_continued_for_a_shell_are_mended_but_strings_are_left_alone() -> None:
    text = '{"a": "x\\\\", \\\n "b": "\\"\\\\" , \\\r\n "c": 1}'
    assert json.loads(mend_continued_lines(text)) == {"a": "x\\", "b": '"\\', "c": 1}
