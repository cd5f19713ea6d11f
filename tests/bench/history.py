"""A ledger with a long history, written by a few statements: a million commands in a minute or two."""

import time

from sqlalchemy import text

from app.ledger.connection import Ledger

A_DAY = 1_000
"""Commands of each day: as busy lately with few as with many, and only the history is longer."""


def fill(ledger: Ledger, count: int) -> None:
    """So many alerts at an even pace, each with its command, an attempt, an event and what was closed."""
    hexed = "printf('%032x', {})" if ledger.sqlite else "lpad(to_hex({}), 32, '0')"
    series = (
        f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s) s"
        if ledger.sqlite
        else f"generate_series(1, {count}) s(n)"
    )
    now = int(time.time() * 1_000_000)
    at = f"({now} - ({count} - n) * CAST({86400 * 1_000_000 // A_DAY} AS BIGINT))"
    of = "(CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{}' ELSE '{}' END)"
    hook, broker = of.format("futures", "stocks", "crypto"), of.format("nt8", "cs", "okx")
    account, instrument = "('Sim10' || (n % 4))", "('L' || (n % 10) || ' 12-26')"
    number, command = hexed.format("n"), hexed.format("n")
    status = "(CASE n % 20 WHEN 0 THEN 'rejected' WHEN 1 THEN 'nothing_open' ELSE 'closed' END)"
    attention = f"(CASE WHEN n % 20 = 0 AND n > {count} - 400 THEN 'rejected' END)"
    no = "0" if ledger.sqlite else "FALSE"
    statements = [
        f"""INSERT INTO alerts (id, hook, received_at, outcome, errors, warnings, text, size, source_address, secret_label,
            deliveries) SELECT {number}, {hook}, {at}, CASE WHEN n % 5 = 0 THEN 'refused' ELSE 'accepted' END,
            '[]', '[]', 'close ' || {instrument}, 20, '52.89.214.238', 'main', 1 FROM {series}""",
        f"""INSERT INTO commands (id, alert, hook, broker, action, account, instrument, cancel_orders, urgency,
            lane_account, lane_root, status, attention, accepted_at, expires_at, first_attempt_at, gives_up_at, settled_at,
            fence, fixed, dry_run, holdings)
            SELECT {command}, {number}, {hook}, {broker}, 'close', {account}, {instrument}, {no}, 1, {account},
            {instrument}, {status}, {attention}, {at}, {at} + 300000000, {at} + 20000, {at} + 120000000, {at} + 900000,
            1, {no}, {no}, NULL FROM {series}""",
        f"""INSERT INTO attempts (command, number, kind, lapses, request, sent_at, settles_at, answered_at, outcome)
            SELECT {command}, 1, 'close', {no}, '{{}}', {at} + 20000, {at} + 30000, {at} + 40000, 'reported'
            FROM {series}""",
        f"""INSERT INTO events (command, at, name, actor, detail)
            SELECT {command}, {at}, 'accepted', 'futures', '{{}}' FROM {series}""",
        f"""INSERT INTO closed_positions (command, hook, broker, closed_at, account, instrument, side, quantity,
            average_price, close_price, profit_loss, source, order_ids, raw)
            SELECT {command}, {hook}, {broker}, {at} + 900000, {account}, {instrument}, 'long', '4', '5779.75',
            '5797.0', '343.75', 'snapshot', '[]', '{{}}' FROM {series}""",
    ]
    with ledger.engine.connect() as connection:
        if not ledger.sqlite:
            connection.execute(text("SET statement_timeout = 0"))
        for statement in statements:
            connection.execute(text(statement))
        connection.execute(text("ANALYZE"))
        connection.commit()
