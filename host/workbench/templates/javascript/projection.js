// What customers spend: one row for each of them.
import { add, integer, max, projection, table, text, timestamp } from "gnomon";

const customers = table(
  {
    customer_id: text(),
    orders: integer(),
    spent_cents: integer(),
    last_order_at: timestamp().nullable(),
  },
  { key: "customer_id" },
);

export default projection({
  name: "{{projection}}",
  // Increase this whenever the same events should produce different rows.
  version: 1,
  tables: { {{projection}}: customers },
  on: {
    OrderPlaced({ data, recordedAt }, tables) {
      // `merge` creates the row if it is missing, each column at zero.
      tables.{{projection}}.merge(data.customer_id, { orders: add(1), last_order_at: max(recordedAt) });
    },
    PaymentReceived({ data }, tables) {
      if (data.amount_cents < 0) {
        throw new Error(`a payment of ${data.amount_cents} cents`);
      }
      tables.{{projection}}.merge(data.customer_id, { spent_cents: add(data.amount_cents) });
    },
  },
});
