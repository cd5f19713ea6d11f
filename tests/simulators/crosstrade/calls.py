"""The venue's calls by their RPC names: arguments in, status and JSON out, whatever carries them."""

from collections.abc import Callable

from tests.simulators.line import Answer, FillPlan

from . import arguments as take
from .arguments import Arguments
from .book import Book
from .errors import NothingOpen, Refusal, UnknownAccount, UnknownExecution, UnknownOrder
from .presentation import Json, account_json, execution_json, order_json, position_json
from .records import Flattened

DEFAULT_LOOKBACK = 320
LONGEST_LOOKBACK = 900


Call = Callable[[Book, Arguments, FillPlan | None], Answer]


def answer(book: Book, api: str, args: Arguments, plan: FillPlan | None = None) -> Answer:
    """Carry out one call. `plan` is how its market orders go, if not as the book says."""
    try:
        return CALLS[api](book, args, plan)
    except Refusal as exc:
        return refused(exc)


def refused(refusal: Refusal) -> Answer:
    match refusal:
        case UnknownAccount(account=account):
            # XT docs, llms-full, "Response shape".
            detail = f"Account {account} not found"
            return Answer(400, {"success": False, "error": "invalid_account", "detail": detail})
        case NothingOpen(instrument=instrument):
            # XT docs, close position.
            return Answer(400, {"error": f"No positions found for instrument '{instrument}'"})
        case UnknownOrder(order_id=order_id):
            # XT docs, cancel order: documented as a stable string.
            return Answer(400, {"error": f"Order linked to '{order_id}' not found or already terminal."})
        case UnknownExecution(execution_id=execution_id):
            return Answer(400, {"error": f"Execution '{execution_id}' not found"})
        case _:
            return Answer(400, {"error": "Invalid request"})


def close_position(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    quantity = take.optional_integer(args, "quantity")
    closed = book.close(
        take.required_text(args, "account"),
        take.required_text(args, "instrument"),
        quantity=quantity,
        percent=take.optional_number(args, "percent") if quantity is None else None,
        plan=plan,
    )
    positions = [position_json(position) for position in closed]
    return Answer(200, {"closedPositions": positions, "success": True}, acted=True)


def flatten(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    flattened = book.flatten(
        account=take.optional_text(args, "account"),
        instrument=take.optional_text(args, "instrument"),
        side=take.optional_side(args, "marketPosition"),
        plan=plan,
    )
    return _flattened(flattened, with_orders=True)


def flatten_everything(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    return _flattened(book.flatten(plan=plan), with_orders=True)


def flatten_account(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    flattened = book.flatten(
        account=take.required_text(args, "account"),
        instrument=take.optional_text(args, "instrument"),
        side=take.optional_side(args, "marketPosition"),
        plan=plan,
    )
    # XT docs, flatten positions: this answer has no order ids.
    return _flattened(flattened, with_orders=False)


def _flattened(flattened: Flattened, with_orders: bool) -> Answer:
    body: Json = {"closedPositions": [position_json(position) for position in flattened.closed]}
    if with_orders:
        # XT docs, flatten everything: three ids beside one position, so stops and targets are in it.
        body["orderIds"] = [*flattened.closing_ids, *flattened.cancelled_ids]
    if not flattened.closed:
        # XT docs, llms-full, "Response shape": a warning, not an error. Its words are not documented.
        body["warning"] = "No open positions to flatten"
    acted = bool(flattened.closed or flattened.cancelled_ids)
    return Answer(200, body | {"success": True}, acted=acted)


def get_position(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    position = book.position(take.required_text(args, "account"), take.required_text(args, "instrument"))
    if book.refuses_flat_reads and not position.quantity:
        raise NothingOpen(position.instrument)
    return Answer(200, position_json(position) | {"success": True})


def list_positions(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    positions = book.positions(take.required_text(args, "account"))
    return Answer(200, {"positions": [position_json(position) for position in positions], "success": True})


def get_all_positions(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    # XT docs, GET all positions: flat ones only when asked for.
    positions = book.positions(include_flat=take.flag(args, "includeFlat"))
    shown = [position_json(position) | {"tag": None} for position in positions]
    return Answer(200, {"positions": shown, "count": len(shown), "success": True})


def cancel_orders(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    # XT docs, cancel orders: without an instrument, all of the account.
    account, instrument = take.required_text(args, "account"), take.optional_text(args, "instrument")
    return _cancelled(book.cancel_orders(account, instrument))


def cancel_all_orders(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    return _cancelled(book.cancel_orders())


def _cancelled(order_ids: list[str]) -> Answer:
    return Answer(200, {"orderIds": order_ids, "success": True}, acted=bool(order_ids))


def cancel(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    order_id = take.required_text(args, "orderId")
    book.cancel_order(take.required_text(args, "account"), order_id)
    return Answer(200, {"orderId": order_id, "success": True}, acted=True)


def list_orders(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    orders = book.orders(take.required_text(args, "account"), active_only=take.flag(args, "activeOnly"))
    return Answer(200, {"orders": [order_json(order) for order in orders], "success": True})


def get_order(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    order = book.order(take.required_text(args, "account"), take.required_text(args, "orderId"))
    return Answer(200, order_json(order) | {"success": True})


def get_order_status(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    order = book.order(take.required_text(args, "account"), take.required_text(args, "orderId"))
    return Answer(200, {"status": order.state.value, "success": True})


def list_executions(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    # XT docs, GET executions: lookbackTime in seconds, default 320, max 900.
    lookback = take.seconds(args, "lookbackTime", DEFAULT_LOOKBACK, LONGEST_LOOKBACK)
    executions = book.executions(take.required_text(args, "account"), lookback)
    return Answer(200, {"executions": [execution_json(fill) for fill in executions], "success": True})


def get_execution(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    execution = book.execution(take.required_text(args, "account"), take.required_text(args, "executionId"))
    return Answer(200, execution_json(execution) | {"success": True})


def list_accounts(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    accounts = [_account(book, name) for name in book.accounts()]
    return Answer(200, {"accounts": accounts, "success": True})


def get_account(book: Book, args: Arguments, plan: FillPlan | None) -> Answer:
    name = book.account(take.required_text(args, "account"))
    return Answer(200, _account(book, name) | {"success": True})


def _account(book: Book, name: str) -> Json:
    return account_json(book.accounts().index(name) + 1, name, book.positions(name))


# ClosePosition, Flatten, FlattenEverything, GetPosition, GetAllPositions, CancelOrders, Cancel and
# ListAccounts are the vendor's names. FlattenAccount is Flatten as REST answers it for one account;
# the docs do not name the others.
CALLS: dict[str, Call] = {
    "ClosePosition": close_position,
    "Flatten": flatten,
    "FlattenEverything": flatten_everything,
    "FlattenAccount": flatten_account,
    "GetPosition": get_position,
    "ListPositions": list_positions,
    "GetAllPositions": get_all_positions,
    "CancelOrders": cancel_orders,
    "CancelAllOrders": cancel_all_orders,
    "Cancel": cancel,
    "ListOrders": list_orders,
    "GetOrder": get_order,
    "GetOrderStatus": get_order_status,
    "ListExecutions": list_executions,
    "GetExecution": get_execution,
    "ListAccounts": list_accounts,
    "GetAccount": get_account,
}
