"""The tables. A comment says what a null means wherever it means something."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

from app.ledger.types import Amount, Instant, Json, Serial

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _partial_index(name: str, *columns: str, where: str) -> Index:
    keys = [it if it.isidentifier() else text(f"({it})") for it in columns]
    return Index(name, *keys, sqlite_where=text(where), postgresql_where=text(where))


alerts = Table(
    "alerts",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),  # the order of arrival; cursors page by it
    Column("id", String(32), nullable=False, unique=True),
    Column("hook", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("outcome", String(16), nullable=False),  # accepted, ignored, refused
    Column("reason", Text),  # null: accepted
    Column("errors", Json, nullable=False),
    Column("warnings", Json, nullable=False),
    Column("text", Text, nullable=False),  # secrets gone
    Column("size", Integer, nullable=False),  # bytes as received
    Column("source_address", Text),
    Column("secret_label", Text, nullable=False),
    Column("sender_id", String(64)),  # SHA-256 of the sender's own id; null: none given
    Column("deliveries", Integer, nullable=False),
    Index("ix_alerts_hook_sender_id", "hook", "sender_id"),
    Index("ix_alerts_hook_seq", "hook", "seq"),
    Index("ix_alerts_outcome_seq", "outcome", "seq"),
    Index("ix_alerts_received_at", "received_at"),
    Index("ix_alerts_hook_secret_label_seq", "hook", "secret_label", "seq"),  # when each label was last used
)

alert_keys = Table(
    "alert_keys",
    metadata,
    Column("key", Text, primary_key=True),  # hook, kind of key, digest
    Column("alert", String(32), nullable=False),
    Column("body", String(64), nullable=False),  # SHA-256 of the bytes as received
    Column("expires_at", Instant),  # null: as long as the ledger
)

commands = Table(
    "commands",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),  # the order of acceptance
    Column("id", String(32), nullable=False, unique=True),
    Column("alert", String(32), ForeignKey("alerts.id"), nullable=False, index=True),
    Column("retry_of", String(32)),  # null: not a retry
    Column("superseded_by", String(32)),  # null: nothing took over
    Column("hook", Text, nullable=False),
    Column("broker", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("account", Text),  # null: the command names none
    Column("instrument", Text),  # null: the command names none
    Column("quantity", Amount),  # null: not asked by quantity
    Column("quantity_unit", String(16)),  # null: as the venue counts
    Column("percent", Amount),  # a fraction below 1; null: not asked by percent
    Column("position", String(8)),  # the side guard; null: either side
    Column("cancel_orders", Boolean, nullable=False),
    Column("urgency", Integer, nullable=False),  # lower goes first
    # The lane: the canonical names of what it could touch. Null: any.
    Column("lane_account", Text),
    Column("lane_root", Text),
    Column("lane_expiry", String(7)),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("attention", String(32)),  # null: nobody needs to look
    Column("acknowledged", String(32)),  # the attention that somebody took note of: not asked for again
    Column("resolution", Json),  # an operator says that it was done: who, and why; null: nobody does
    Column("accepted_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),  # no first attempt after this
    Column("first_attempt_at", Instant),  # null: none yet
    Column("gives_up_at", Instant),  # no attempt after this; null: none made yet
    Column("settled_at", Instant),  # null: not settled
    Column("due_at", Instant),  # null: nothing more happens by itself
    Column("lease_owner", Text),  # null: nobody carries it out
    Column("lease_until", Instant),
    Column("fence", Integer, nullable=False),  # counts the takings; a stale holder's writes miss
    Column("holdings", Json),  # before, target and after of each position; null: not known yet
    Column("fixed", Boolean, nullable=False),  # an attempt may have left: before and target stay
    Column("dry_run", Boolean, nullable=False, server_default=false()),  # its hook shows, and sends nothing
    Column("max_positions", Integer),  # a flatten of more stops; null: of any number
    Index("ix_commands_due", "due_at", "urgency", "seq"),
    # What is not so yet, or never will be, is in none of these: most of what is written touches few of them.
    _partial_index("ix_commands_lease", "lease_until", where="lease_owner IS NOT NULL"),
    _partial_index("ix_commands_attention_seq", "attention", "seq", where="attention IS NOT NULL"),
    _partial_index("ix_commands_settled_at", "settled_at", where="settled_at IS NOT NULL"),
    # Claims ask only for the unsettled: few, however long the ledger grows. They take them in the order of urgency, and
    # whose turn it is depends on those of the same lane: few, however many wait.
    _partial_index("ix_commands_urgency", "status", "urgency", "seq", where="settled_at IS NULL"),
    _partial_index(
        "ix_commands_lane",
        "broker",
        "coalesce(lane_root, '')",
        "coalesce(lane_account, '')",
        where="settled_at IS NULL",
    ),
    Index("ix_commands_status_seq", "status", "seq"),
    Index("ix_commands_hook_seq", "hook", "seq"),
    Index("ix_commands_instrument_seq", "instrument", "seq"),
    Index("ix_commands_accepted_at", "accepted_at"),
    Index("ix_commands_account_seq", text("lower(account)"), "seq"),
    Index("uq_commands_retry_of", "retry_of", unique=True),  # two operators who retry at once make one
)

attempts = Table(
    "attempts",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("command", String(32), ForeignKey("commands.id"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1, over all kinds
    Column("kind", String(8), nullable=False),  # close, cancel, read
    Column("place", Json),  # the one position that it closes; null: all that the command is about
    Column("client_id", String(64)),  # null: the venue takes none
    Column("lapses", Boolean, nullable=False, server_default=false()),  # refused after the settle window
    Column("request", Json, nullable=False),
    Column("sent_at", Instant, nullable=False),
    Column("settles_at", Instant, nullable=False),  # from then on its effect can be read back
    Column("answered_at", Instant),  # null: no answer yet, or never
    Column("outcome", String(16)),  # null: in flight
    Column("answer", Json),
    Column("report", Json),  # the answer in our terms; null: none
    Column("detail", Text),
    Index("uq_attempts_command_number", "command", "number", unique=True),
)

closed_positions = Table(
    "closed_positions",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("command", String(32), ForeignKey("commands.id"), nullable=False, index=True),
    Column("hook", Text, nullable=False),
    Column("broker", Text, nullable=False),
    Column("closed_at", Instant, nullable=False),
    Column("account", Text, nullable=False),
    Column("instrument", Text, nullable=False),
    Column("side", String(8)),  # null: nobody saw the position before
    Column("quantity", Amount),  # what was closed; null: nobody saw the position before
    Column("average_price", Amount),
    Column("close_price", Amount),
    Column("profit_loss", Amount),
    Column("currency", Text),
    Column("source", String(16), nullable=False),
    Column("order_ids", Json, nullable=False),
    Column("raw", Json, nullable=False),
    Index("ix_closed_positions_hook_seq", "hook", "seq"),
    Index("ix_closed_positions_broker_seq", "broker", "seq"),
    Index("ix_closed_positions_instrument_seq", "instrument", "seq"),
    Index("ix_closed_positions_closed_at", "closed_at"),
    Index("ix_closed_positions_account_seq", text("lower(account)"), "seq"),
)

# All that happened to a command, append-only: triggers made by the migration refuse a change.
events = Table(
    "events",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("command", String(32), ForeignKey("commands.id"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("name", String(32), nullable=False),
    Column("actor", Text, nullable=False),  # a hook, a worker, a user
    Column("detail", Json, nullable=False),
)

# What was ever seen open, by the canonical names that lanes use.
sightings = Table(
    "sightings",
    metadata,
    Column("broker", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("root", Text, primary_key=True),
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
)

# Brokers that one worker at a time serves, and which.
broker_leases = Table(
    "broker_leases",
    metadata,
    Column("broker", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", Instant, nullable=False),
)

# Calls at the door that nobody authenticated.
strangers = Table(
    "strangers",
    metadata,
    Column("address", Text, primary_key=True),
    Column("hook", Text, primary_key=True),  # empty: there is none of the name that was called
    Column("reason", String(32), primary_key=True),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False, index=True),
    Column("times", Integer, nullable=False),
)

# What the dashboard asks the workers. One row a broker for what is open there; previews are deleted after a while.
questions = Table(
    "questions",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("kind", String(16), nullable=False),  # positions, preview
    Column("broker", Text, nullable=False),
    Column("detail", Json, nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("taken_at", Instant),  # null: by no worker yet
    Column("answered_at", Instant),  # null: not yet; before asked_at: asked anew since
    Column("answer", Json),
)

# What people are to be told, one row for each address.
notices = Table(
    "notices",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("about", Text, nullable=False),
    Column("address", String(16), nullable=False),  # the beginning of the SHA-256 of the address
    Column("cause", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("path", Text),  # null: no page tells more
    Column("noted_at", Instant, nullable=False),
    Column("due_at", Instant),  # null: delivered, or given up
    Column("tries", Integer, nullable=False),
    Column("sent_at", Instant),  # null: not delivered
    Index("uq_notices_about_address", "about", "address", unique=True),
    Index("ix_notices_due_at", "due_at"),
    Index("ix_notices_noted_at", "noted_at"),
)

# What Prometheus counts, and up to where it is counted.
tallies = Table(
    "tallies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),  # JSON: pairs of names and values
    Column("value", BigInteger, nullable=False),
)

# Up to when each schedule was looked after.
schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("timetable", Text, primary_key=True),  # another one is another schedule: it missed nothing yet
    Column("looked_until", Instant, nullable=False),
)

# What operators stopped. A row is there while nothing is sent for it.
pauses = Table(
    "pauses",
    metadata,
    Column("scope", String(8), primary_key=True),  # all, broker, hook
    Column("name", Text, primary_key=True),  # of the broker or hook; empty: all
    Column("since", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

# What operators did that is of no single command, append-only like the events.
acts = Table(
    "acts",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("name", String(32), nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", Json, nullable=False),
)
