"""Events may be deleted a week after they happened, once their command is settled; never changed, and never sooner."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

A_WEEK = 7 * 86400 * 1_000_000  # microseconds
UNSETTLED = "EXISTS (SELECT 1 FROM commands WHERE commands.id = OLD.command AND commands.settled_at IS NULL)"


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        now = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) * 1000"
        op.execute("DROP TRIGGER events_no_delete")
        op.execute(
            f"CREATE TRIGGER events_no_delete BEFORE DELETE ON events WHEN OLD.at > {now} - {A_WEEK} OR {UNSETTLED} "
            "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
        )
        return
    now = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
    server = op.get_bind().dialect.server_version_info or ()
    if server < (
        14,
    ):  # to drop one waits for whoever reads the table, a backup say, and all writers behind it
        op.execute("DROP TRIGGER events_append_only ON events")
    op.execute(
        f"CREATE {'OR REPLACE ' if server >= (14,) else ''}TRIGGER events_append_only BEFORE UPDATE OR TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE FUNCTION refuse_early_deletion() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF OLD.at > {now} - {A_WEEK} OR {UNSETTLED} THEN RAISE EXCEPTION 'events are append-only'; END IF; "
        "RETURN OLD; END $$"
    )
    op.execute(
        "CREATE TRIGGER events_kept BEFORE DELETE ON events "
        "FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion()"
    )
