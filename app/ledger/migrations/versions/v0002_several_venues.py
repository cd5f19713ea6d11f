"""Several venues: attempts that close one position of several, brokers served by one worker, quantities in base units."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("place", sa.Text()))
    op.add_column("attempts", sa.Column("lapses", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("commands", sa.Column("quantity_unit", sa.String(length=16)))
    op.create_table(
        "broker_leases",
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("broker", name="pk_broker_leases"),
    )
