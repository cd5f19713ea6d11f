"""The vendor's JSON for what the book holds: every number a text."""

from decimal import Decimal
from typing import Any

from .records import ZERO, AlgoOrder, Fill, Instrument, Order, Position

Json = dict[str, Any]

# Illustrative: what a contract ties up is not what the simulator is about.
MAINTENANCE = Decimal("0.004")


def plain(number: Decimal) -> str:
    """Without an exponent and without zeros that say nothing."""
    if not number:
        return "0"
    return format(number.normalize(), "f")


def milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def microseconds(seconds: float) -> str:
    return str(int(seconds * 1_000_000))


def instrument_json(instrument: Instrument, inst_type: str, suspended: bool) -> Json:
    # OKX docs, GET instruments.
    contract = not instrument.is_margin
    alias = "next_quarter" if instrument.inst_type == "FUTURES" else ""
    return {
        "alias": alias,
        "auctionEndTime": "",
        "baseCcy": "" if contract else instrument.base,
        "category": "1",
        "contTdSwTime": "",
        "ctMult": "1" if contract else "",
        "ctType": "linear" if contract else "",
        "ctVal": plain(instrument.contract_value) if contract else "",
        "ctValCcy": instrument.base if contract else "",
        "expTime": instrument.expires_at,
        "futureSettlement": False,
        "instFamily": instrument.family if contract else "",
        "instId": instrument.inst_id,
        "instType": inst_type,
        "lever": "100" if contract else "10",
        "listTime": "1606468572000",
        "lotSz": plain(instrument.lot),
        "maxIcebergSz": "100000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktAmt": "" if contract else "1000000",
        "maxMktSz": plain(instrument.most_at_market),
        "maxStopSz": plain(instrument.most_at_market),
        "maxTriggerSz": "100000000",
        "maxTwapSz": "100000000",
        "minSz": plain(instrument.least),
        "optType": "",
        "quoteCcy": "" if contract else instrument.quote,
        "ruleType": "normal",
        "settleCcy": instrument.quote if contract else "",
        "state": "suspend" if suspended else "live",
        "stk": "",
        "tickSz": plain(instrument.tick),
        "uly": instrument.family if contract else "",
    }


def position_json(position: Position) -> Json:
    # OKX docs, GET positions. A position that is closed has its amounts empty, and `pos` "0".
    open_now = bool(position.signed)
    mark, margin_mode = position.mark_price, position.margin_mode
    value = abs(position.signed) * position.instrument.contract_value
    tied = value * position.average_price / position.lever
    profit = position.profit_loss if open_now else ZERO
    return {
        "adl": "1" if open_now else "",
        "availPos": _available(position) if open_now else "",
        "avgPx": plain(position.average_price) if open_now else "",
        "baseBal": "",
        "baseBorrowed": "",
        "baseInterest": "",
        "bePx": plain(position.average_price) if open_now else "",
        "bizRefId": "",
        "bizRefType": "",
        "cTime": milliseconds(position.opened_at),
        "ccy": position.instrument.quote,
        "closeOrderAlgo": [],
        "fee": plain(position.fee),
        "fundingFee": "0",
        "idxPx": plain(mark),
        "imr": plain(value * mark / position.lever) if open_now and margin_mode == "cross" else "",
        "instId": position.inst_id,
        "instType": position.instrument.inst_type,
        "interest": "",
        "last": plain(mark),
        "lever": plain(position.lever),
        "liab": "",
        "liabCcy": "",
        "liqPenalty": "0",
        "liqPx": _liquidation_price(position) if open_now else "",
        "margin": plain(tied) if open_now and margin_mode == "isolated" else "",
        "markPx": plain(mark),
        "mgnMode": margin_mode,
        "mgnRatio": "29.4" if open_now else "",
        "mmr": plain(value * mark * MAINTENANCE) if open_now else "",
        "notionalUsd": plain(value * mark) if open_now else "",
        "optVal": "",
        "pendingCloseOrdLiabVal": "",
        "pnl": plain(position.realized),
        "pos": _pos(position),
        "posCcy": _position_currency(position) if open_now else "",
        "posId": position.pos_id,
        "posSide": position.pos_side,
        "quoteBal": "",
        "quoteBorrowed": "",
        "quoteInterest": "",
        "realizedPnl": plain(position.realized + position.fee),
        "spotInUseAmt": "",
        "spotInUseCcy": "",
        "tradeId": position.trade_id,
        "uTime": milliseconds(position.updated_at),
        "upl": plain(profit) if open_now else "",
        "uplLastPx": plain(profit) if open_now else "",
        "uplRatio": plain(round(profit / tied, 10)) if open_now and tied else "",
        "usdPx": "",
    }


def _pos(position: Position) -> str:
    if not position.instrument.is_margin:
        return plain(position.quantity)
    # OKX docs, GET positions, posSide: a MARGIN position has no sign, its currency tells the side.
    value = position.average_price if position.signed < 0 else Decimal(1)
    return plain(abs(position.signed) * value)


def _position_currency(position: Position) -> str:
    if not position.instrument.is_margin:
        return ""
    return position.instrument.base if position.signed > 0 else position.instrument.quote


def _available(position: Position) -> str:
    # OKX docs, GET positions, availPos: only for MARGIN, and for contracts in long/short mode.
    if position.instrument.is_margin or position.pos_side != "net":
        return plain(position.available)
    return ""


def _liquidation_price(position: Position) -> str:
    away = 1 / position.lever * (1 if position.signed < 0 else -1)
    return plain(round(position.average_price * (1 + away), 2))


def history_json(position: Position) -> Json:
    # OKX docs, GET positions-history: type 1 is partly closed, 2 closed.
    average = position.closed_for / position.closed if position.closed else ZERO
    tied = position.largest * position.instrument.contract_value * position.average_price / position.lever
    return {
        "cTime": milliseconds(position.opened_at),
        "ccy": position.instrument.quote,
        "closeAvgPx": plain(round(average, 10)),
        "closeTotalPos": plain(position.closed),
        "direction": position.direction,
        "fee": plain(position.fee),
        "fundingFee": "0",
        "instId": position.inst_id,
        "instType": position.instrument.inst_type,
        "lever": plain(position.lever),
        "liqPenalty": "0",
        "mgnMode": position.margin_mode,
        "nonSettleAvgPx": "",
        "openAvgPx": plain(position.average_price),
        "openMaxPos": plain(position.largest),
        "pnl": plain(position.realized),
        "pnlRatio": plain(round(position.realized / tied, 10)) if tied else "",
        "posId": position.pos_id,
        "posSide": position.pos_side,
        "realizedPnl": plain(position.realized + position.fee),
        "settledPnl": "",
        "triggerPx": "",
        "type": "1" if position.signed else "2",
        "uTime": milliseconds(position.updated_at),
        "uly": position.instrument.family,
    }


def order_json(order: Order) -> Json:
    # OKX docs, GET order.
    last = order.fills[-1] if order.fills else None
    return {
        "accFillSz": plain(order.filled),
        "algoClOrdId": "",
        "algoId": "",
        "attachAlgoClOrdId": "",
        "attachAlgoOrds": [],
        "avgPx": plain(round(order.filled_for / order.filled, 10)) if order.filled else "",
        "cTime": milliseconds(order.placed_at),
        "cancelSource": "1" if order.state == "canceled" else "",
        "cancelSourceReason": "",
        "category": "normal",
        "ccy": "",
        "clOrdId": order.client_id,
        "fee": plain(order.fee),
        "feeCcy": order.instrument.quote,
        "fillPx": plain(last.price) if last else "",
        "fillSz": plain(last.quantity) if last else "0",
        "fillTime": milliseconds(last.at) if last else "",
        "instId": order.key.inst_id,
        "instType": order.instrument.inst_type,
        "isTpLimit": "false",
        "lever": plain(order.lever),
        "linkedAlgoOrd": {"algoId": ""},
        "ordId": order.order_id,
        "ordType": order.order_type,
        "pnl": plain(order.pnl),
        "posSide": order.key.pos_side,
        "px": "" if order.price is None else plain(order.price),
        "pxType": "",
        "pxUsd": "",
        "pxVol": "",
        "quickMgnType": "",
        "rebate": "0",
        "rebateCcy": order.instrument.quote,
        "reduceOnly": "true" if order.reduce_only else "false",
        "side": order.side,
        "slOrdPx": "",
        "slTriggerPx": "",
        "slTriggerPxType": "",
        "source": "",
        "state": order.state.value,
        "stpId": "",
        "stpMode": "cancel_maker",
        "sz": plain(order.quantity),
        "tag": order.tag,
        "tdMode": order.key.margin_mode,
        "tgtCcy": "",
        "tpOrdPx": "",
        "tpTriggerPx": "",
        "tpTriggerPxType": "",
        "tradeId": last.trade_id if last else "",
        "uTime": milliseconds(order.updated_at),
    }


def fill_json(fill: Fill) -> Json:
    # OKX docs, GET fills.
    at = milliseconds(fill.at)
    return {
        "billId": fill.bill_id,
        "clOrdId": fill.client_id,
        "execType": "M" if fill.maker else "T",
        "fee": plain(fill.fee),
        "feeCcy": fill.instrument.quote,
        "feeRate": "-0.0005",
        "fillFwdPx": "",
        "fillIdxPx": plain(fill.price),
        "fillMarkPx": plain(fill.price),
        "fillMarkVol": "",
        "fillPnl": plain(fill.pnl),
        "fillPx": plain(fill.price),
        "fillPxUsd": "",
        "fillPxVol": "",
        "fillSz": plain(fill.quantity),
        "fillTime": at,
        "instId": fill.key.inst_id,
        "instType": fill.instrument.inst_type,
        "ordId": fill.order_id,
        "posSide": fill.key.pos_side,
        "side": fill.side,
        "subType": "",
        "tag": fill.tag,
        "tradeId": fill.trade_id,
        "ts": at,
    }


def algo_json(algo: AlgoOrder) -> Json:
    # OKX docs, GET orders-algo-pending, without what only other kinds have.
    return {
        "algoClOrdId": algo.client_id,
        "algoId": algo.algo_id,
        "cTime": milliseconds(algo.placed_at),
        "ccy": "",
        "closeFraction": "",
        "instId": algo.key.inst_id,
        "instType": algo.instrument.inst_type,
        "lever": "10",
        "ordId": "",
        "ordPx": "",
        "ordType": algo.order_type,
        "posSide": algo.key.pos_side,
        "reduceOnly": "true",
        "side": algo.side,
        "slOrdPx": "-1",
        "slTriggerPx": plain(algo.trigger_price),
        "slTriggerPxType": "last",
        "state": "live",
        "sz": plain(algo.quantity),
        "tag": "",
        "tdMode": algo.key.margin_mode,
        "tpOrdPx": "",
        "tpTriggerPx": "",
        "tpTriggerPxType": "",
        "triggerPx": "",
        "uTime": milliseconds(algo.placed_at),
    }


def config_json(mode: str, account_level: str) -> Json:
    # OKX docs, GET account config.
    return {
        "acctLv": account_level,
        "acctStpMode": "cancel_maker",
        "autoLoan": False,
        "ctIsoMode": "automatic",
        "enableSpotBorrow": False,
        "greeksType": "PA",
        "ip": "",
        "kycLv": "2",
        "label": "simulator",
        "level": "Lv1",
        "levelTmp": "",
        "liquidationGear": "-1",
        "mainUid": "44705892343619584",
        "mgnIsoMode": "automatic",
        "opAuth": "0",
        "perm": "read_only,trade",
        "posMode": mode,
        "roleType": "0",
        "settleCcy": "",
        "spotBorrowAutoRepay": False,
        "spotOffsetType": "",
        "spotRoleType": "0",
        "type": "0",
        "uid": "44705892343619584",
    }
