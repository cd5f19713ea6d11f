"""The first schema: alerts, commands, attempts, closed positions, events, workers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "alert_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("alert", sa.String(length=32), nullable=False),
        sa.Column("body", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("key", name="pk_alert_keys"),
    )
    op.create_table(
        "alerts",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("hook", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("source_address", sa.Text()),
        sa.Column("secret_label", sa.Text(), nullable=False),
        sa.Column("sender_id", sa.String(length=64)),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_alerts"),
        sa.UniqueConstraint("id", name="uq_alerts_id"),
    )
    op.create_index("ix_alerts_hook_sender_id", "alerts", ["hook", "sender_id"])
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )
    op.create_table(
        "commands",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("alert", sa.String(length=32), nullable=False),
        sa.Column("retry_of", sa.String(length=32)),
        sa.Column("hook", sa.Text(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("instrument", sa.Text()),
        sa.Column("quantity", sa.Text()),
        sa.Column("percent", sa.Text()),
        sa.Column("position", sa.String(length=8)),
        sa.Column("cancel_orders", sa.Boolean(), nullable=False),
        sa.Column("urgency", sa.Integer(), nullable=False),
        sa.Column("lane_account", sa.Text()),
        sa.Column("lane_root", sa.Text()),
        sa.Column("lane_expiry", sa.String(length=7)),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("attention", sa.String(length=32)),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("first_attempt_at", sa.BigInteger()),
        sa.Column("gives_up_at", sa.BigInteger()),
        sa.Column("settled_at", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("holdings", sa.Text()),
        sa.Column("fixed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["alert"], ["alerts.id"], name="fk_commands_alert"),
        sa.PrimaryKeyConstraint("seq", name="pk_commands"),
        sa.UniqueConstraint("id", name="uq_commands_id"),
    )
    op.create_index(op.f("ix_commands_alert"), "commands", ["alert"])
    op.create_index("ix_commands_attention_seq", "commands", ["attention", "seq"])
    op.create_index("ix_commands_due", "commands", ["due_at", "urgency", "seq"])
    _create_partial_index("ix_commands_lease", "commands", ["lease_until"], "lease_owner IS NOT NULL")
    op.create_index("ix_commands_status_seq", "commands", ["status", "seq"])
    _create_partial_index("ix_commands_unsettled", "commands", ["broker", "seq"], "settled_at IS NULL")
    op.create_table(
        "attempts",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("command", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("client_id", sa.String(length=64)),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("settles_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger()),
        sa.Column("outcome", sa.String(length=16)),
        sa.Column("answer", sa.Text()),
        sa.Column("report", sa.Text()),
        sa.Column("detail", sa.Text()),
        sa.ForeignKeyConstraint(["command"], ["commands.id"], name="fk_attempts_command"),
        sa.PrimaryKeyConstraint("seq", name="pk_attempts"),
    )
    op.create_index("uq_attempts_command_number", "attempts", ["command", "number"], unique=True)
    op.create_table(
        "closed_positions",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("command", sa.String(length=32), nullable=False),
        sa.Column("hook", sa.Text(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("side", sa.String(length=8)),
        sa.Column("quantity", sa.Text()),
        sa.Column("average_price", sa.Text()),
        sa.Column("close_price", sa.Text()),
        sa.Column("profit_loss", sa.Text()),
        sa.Column("currency", sa.Text()),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("order_ids", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["command"], ["commands.id"], name="fk_closed_positions_command"),
        sa.PrimaryKeyConstraint("seq", name="pk_closed_positions"),
    )
    op.create_index(op.f("ix_closed_positions_command"), "closed_positions", ["command"])
    op.create_table(
        "events",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("command", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["command"], ["commands.id"], name="fk_events_command"),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_index(op.f("ix_events_command"), "events", ["command"])
    op.create_table(
        "sightings",
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("broker", "account", "root", name="pk_sightings"),
    )
    _make_events_append_only()


def _create_partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _make_events_append_only() -> None:
    """What happened can't be made not to have happened: the database itself refuses."""
    if op.get_context().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER events_no_{verb.lower()} BEFORE {verb} ON events "
                "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
