"""What operators do: resolve, acknowledge, retry, pause."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("commands", sa.Column("acknowledged", sa.String(length=32)))
    op.add_column("commands", sa.Column("resolution", sa.Text()))
    op.add_column("commands", sa.Column("superseded_by", sa.String(length=32)))
    op.create_index("uq_commands_retry_of", "commands", ["retry_of"], unique=True)
    op.create_table(
        "pauses",
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name", name="pk_pauses"),
    )
    op.create_table(
        "acts",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_acts"),
    )
    _make_acts_append_only()


def _make_acts_append_only() -> None:
    if op.get_context().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER acts_no_{verb.lower()} BEFORE {verb} ON acts "
                "BEGIN SELECT RAISE(ABORT, 'acts are append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_change_of_acts() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'acts are append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER acts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON acts "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_acts()"
    )
