"""The dashboard: questions to the workers, and indexes for its filters."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FILTERED = (
    ("commands", ("hook", "seq")),
    ("commands", ("instrument", "seq")),
    ("commands", ("accepted_at",)),
    ("commands", ("settled_at",)),
    ("alerts", ("hook", "seq")),
    ("alerts", ("outcome", "seq")),
    ("alerts", ("received_at",)),
    ("closed_positions", ("hook", "seq")),
    ("closed_positions", ("broker", "seq")),
    ("closed_positions", ("instrument", "seq")),
    ("closed_positions", ("closed_at",)),
)


def upgrade() -> None:
    op.create_table(
        "questions",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.BigInteger()),
        sa.Column("answered_at", sa.BigInteger()),
        sa.Column("answer", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_questions"),
    )
    for table, columns in FILTERED:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))
    for table in ("commands", "closed_positions"):
        op.create_index(f"ix_{table}_account_seq", table, [sa.text("lower(account)"), "seq"])
