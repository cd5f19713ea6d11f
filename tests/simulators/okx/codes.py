"""OKX's error codes with the HTTP status and the words that go with each (brokers.md, section 4.7)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    status: int
    message: str


CODES: dict[str, Code] = {
    "50000": Code(400, "Body for POST request cannot be empty."),
    "50001": Code(503, "Service temporarily unavailable. Please try again later."),
    "50002": Code(400, "JSON syntax error"),
    "50004": Code(400, "API endpoint request timeout."),
    "50005": Code(410, "API is offline or unavailable."),
    "50006": Code(400, 'Invalid Content-Type. Please use "application/json".'),
    "50011": Code(429, "Too Many Requests"),
    "50012": Code(200, "Account status invalid. Check account status"),
    "50013": Code(429, "Systems are busy. Please try again later."),
    "50014": Code(400, "Parameter {0} can not be empty."),
    "50015": Code(400, "Either parameter {0} is required."),
    "50016": Code(400, "Parameter {0} does not match."),
    "50017": Code(200, "Position frozen and related operations restricted due to auto-deleveraging (ADL)."),
    "50019": Code(200, "Account frozen and related operations restricted due to auto-deleveraging (ADL)."),
    "50020": Code(200, "Position frozen and related operations are restricted due to liquidation."),
    "50022": Code(200, "Account frozen and related operations are restricted due to liquidation."),
    "50023": Code(200, "Funding fee frozen and related operations are restricted."),
    "50025": Code(200, "Parameter {0} count exceeds the limit."),
    "50026": Code(500, "System error. Try again later"),
    "50027": Code(
        200, "The account is restricted from trading. Please contact customer support for assistance."
    ),
    "50035": Code(403, "This endpoint requires that APIKey must be bound to IP"),
    "50036": Code(200, "The expTime can't be earlier than the current system time."),
    "50037": Code(200, "Order expired."),
    "50040": Code(200, "Too frequent operations, please try again later"),
    "50042": Code(200, "Repeated request"),
    "50061": Code(200, "Sub-account rate limit exceeded"),
    "50071": Code(200, "clOrdId already exists"),
    "50100": Code(400, "API frozen, please contact customer service."),
    "50101": Code(401, "APIKey does not match current environment."),
    "50102": Code(401, "Timestamp request expired"),
    "50103": Code(401, 'Request header "OK-ACCESS-KEY" cannot be empty.'),
    "50104": Code(401, 'Request header "OK-ACCESS-PASSPHRASE" cannot be empty.'),
    "50105": Code(401, 'Request header "OK-ACCESS-PASSPHRASE" incorrect.'),
    "50106": Code(401, 'Request header "OK-ACCESS-SIGN" cannot be empty.'),
    "50107": Code(401, 'Request header "OK-ACCESS-TIMESTAMP" cannot be empty.'),
    "50110": Code(401, "Your IP is not included in your API key's IP whitelist."),
    "50111": Code(401, "Invalid OK-ACCESS-KEY"),
    "50112": Code(401, "Invalid OK-ACCESS-TIMESTAMP"),
    "50113": Code(401, "Invalid signature"),
    "50114": Code(401, "Invalid authorization"),
    "50115": Code(405, "Invalid request method"),
    "50119": Code(200, "API key doesn't exist"),
    "50120": Code(200, "This API key doesn't have permission to use this function"),
    "51000": Code(400, "Parameter {0} error "),
    "51001": Code(200, "Instrument ID does not exist"),
    "51010": Code(200, "The current account mode does not support this API interface. "),
    "51015": Code(200, "Instrument ID does not match instrument type."),
    "51016": Code(200, "Duplicated client order ID"),
    "51020": Code(200, "Your order should meet or exceed the minimum order amount."),
    "51022": Code(200, "Contract suspended."),
    "51023": Code(200, "Position does not exist."),
    "51024": Code(200, "Your account is blocked."),
    "51027": Code(200, "Contract expired."),
    "51028": Code(200, "Contract under delivery."),
    "51029": Code(200, "Contract is being settled."),
    "51030": Code(200, "Funding fee is being settled."),
    "51032": Code(200, "Closing all the positions at market price."),
    "51043": Code(200, "This isolated position doesn't exist."),
    "51046": Code(200, "The TP trigger price must be higher than the order price"),
    "51054": Code(500, "Request timed out. Please try again."),
    "51108": Code(200, "Positions exceed the limit for closing out with the market price."),
    "51112": Code(200, "Close order size exceeds the available size for this position."),
    "51113": Code(429, "Market-price liquidation requests too frequent."),
    "51115": Code(429, "Cancel all pending close-orders before liquidation."),
    "51117": Code(200, "The number of pending closing orders exceeds the limit."),
    "51121": Code(200, "Order quantity must be a multiple of the lot size."),
    "51127": Code(200, "Available balance is 0."),
    "51149": Code(500, "Order timed out. Please try again."),
    "51156": Code(
        200, "You're leading trades in long/short mode and can't use this API endpoint to close positions"
    ),
    "51169": Code(
        200, "Order failed because you don't have any positions in this direction to reduce or close."
    ),
    "51170": Code(200, "Failed to place order. A reduce-only order can't be the same trading direction."),
    "51202": Code(200, "Market order amount exceeds the maximum amount."),
    "51203": Code(200, "Order amount exceeds the limit."),
    "51205": Code(200, "Reduce Only is not available."),
    "51206": Code(200, "Please cancel the Reduce Only order before placing the current order."),
    "51207": Code(200, "Trading amount exceeds the limit, and it can't be closed at market at once."),
    "51342": Code(200, "Closing order already exists."),
    "51400": Code(200, "Cancellation failed as the order has been filled, canceled or does not exist."),
    "51603": Code(200, "Order does not exist"),
}


class Refusal(Exception):
    """Raised when the venue says no; the book is as it was. `about` is the parameter it is about, if any."""

    def __init__(self, code: str, about: str = "") -> None:
        super().__init__(code, about)
        self.code = code
        self.message = CODES[code].message.format(about)

    @property
    def status(self) -> int:
        return CODES[self.code].status
