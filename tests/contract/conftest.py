"""The cards' assertions are told in full, though their module is no test module by name."""

import pytest

pytest.register_assert_rewrite("tests.contract.cards")
