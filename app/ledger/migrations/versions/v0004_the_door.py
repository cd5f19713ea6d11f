"""The door: shadow mode, the most positions a flatten may close, calls that nobody authenticated."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("commands", sa.Column("dry_run", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("commands", sa.Column("max_positions", sa.Integer()))
    op.create_index("ix_alerts_hook_secret_label_seq", "alerts", ["hook", "secret_label", "seq"])
    op.create_table(
        "strangers",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("hook", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("address", "hook", "reason", name="pk_strangers"),
    )
    op.create_index("ix_strangers_last_at", "strangers", ["last_at"])
