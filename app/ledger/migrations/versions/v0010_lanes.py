"""What waits is found in its order and by its lane, and what is not so is in no index of those that are."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_commands_unsettled", "commands")
    _create("ix_commands_urgency", "status", "urgency", "seq", where="settled_at IS NULL")
    names = ("coalesce(lane_root, '')", "coalesce(lane_account, '')")
    _create("ix_commands_lane", "broker", *names, where="settled_at IS NULL")
    for name, *columns in (
        ("ix_commands_attention_seq", "attention", "seq"),
        ("ix_commands_settled_at", "settled_at"),
    ):
        op.drop_index(name, "commands")
        _create(name, *columns, where=f"{columns[0]} IS NOT NULL")


def _create(name: str, *columns: str, where: str) -> None:
    keys = [column if column.isidentifier() else sa.text(f"({column})") for column in columns]
    op.create_index(name, "commands", keys, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
