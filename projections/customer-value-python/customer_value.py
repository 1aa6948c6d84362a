"""One row for each customer: how many orders, what was paid, how often they cancelled."""

from datetime import datetime

from gnomon import Event, Projection, Tables, add, greatest, row


@row("customer_value", key="customer_id")
class CustomerValue:
    customer_id: str
    orders: int
    paid_cents: int
    cancelled: int
    last_order_at: datetime | None


projection = Projection("customer_value", version=1, tables=[CustomerValue])


@projection.on("OrderPlaced")
def order_placed(event: Event, tables: Tables) -> None:
    tables[CustomerValue].merge(
        event.data["customer_id"], orders=add(1), last_order_at=greatest(event.recorded_at)
    )


@projection.on("PaymentReceived")
def payment_received(event: Event, tables: Tables) -> None:
    tables[CustomerValue].merge(
        event.data["customer_id"], paid_cents=add(event.data["amount_cents"])
    )


@projection.on("OrderCancelled")
def order_cancelled(event: Event, tables: Tables) -> None:
    tables[CustomerValue].merge(event.data["customer_id"], cancelled=add(1))
