// One row for each customer: how many orders, what was paid, how often they cancelled.
import { type Event, add, integer, max, projection, table, text, timestamp } from "gnomon";

const customerValue = table(
  {
    customer_id: text(),
    orders: integer(),
    paid_cents: integer(),
    cancelled: integer(),
    last_order_at: timestamp().nullable(),
  },
  { key: "customer_id" },
);

interface OfCustomer {
  customer_id: string;
}

interface PaymentReceived extends OfCustomer {
  amount_cents: number | bigint;
}

export default projection({
  name: "customer_value",
  version: 1,
  tables: { customer_value: customerValue },
  on: {
    OrderPlaced({ data, recordedAt }: Event<OfCustomer>, { customer_value }) {
      customer_value.merge(data.customer_id, { orders: add(1), last_order_at: max(recordedAt) });
    },
    PaymentReceived({ data }: Event<PaymentReceived>, { customer_value }) {
      customer_value.merge(data.customer_id, { paid_cents: add(data.amount_cents) });
    },
    OrderCancelled({ data }: Event<OfCustomer>, { customer_value }) {
      customer_value.merge(data.customer_id, { cancelled: add(1) });
    },
  },
});
