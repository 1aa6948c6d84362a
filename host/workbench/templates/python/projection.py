"""What customers spend: one row for each of them."""

from datetime import datetime

from gnomon import Event, Projection, Tables, add, greatest, row


@row("{{projection}}", key="customer_id")
class Customer:
    customer_id: str
    orders: int
    spent_cents: int
    last_order_at: datetime | None


# Increase the version whenever the same events should produce different rows.
projection = Projection("{{projection}}", version=1, tables=[Customer])


@projection.on("OrderPlaced")
def order_placed(event: Event, tables: Tables) -> None:
    # `merge` creates the row if it is missing, each column at zero.
    tables[Customer].merge(
        event.data["customer_id"], orders=add(1), last_order_at=greatest(event.recorded_at)
    )


@projection.on("PaymentReceived")
def payment_received(event: Event, tables: Tables) -> None:
    amount_cents = event.data["amount_cents"]
    if amount_cents < 0:
        raise ValueError(f"a payment of {amount_cents} cents")
    tables[Customer].merge(event.data["customer_id"], spent_cents=add(amount_cents))
