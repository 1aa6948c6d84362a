/* One row for each customer: how many orders, what was paid, how often they
 * cancelled. */
#include "gnomon.h"

static gnomon_table customers = {
    .name = "customer_value",
    .columns = GNOMON_COLUMNS(
        {"customer_id", GNOMON_TEXT},
        {"orders", GNOMON_INTEGER},
        {"paid_cents", GNOMON_INTEGER},
        {"cancelled", GNOMON_INTEGER},
        {"last_order_at", GNOMON_TIMESTAMP, .nullable = true}),
    .primary_key = GNOMON_NAMES("customer_id"),
};

static gnomon_value customer(gnomon_json data)
{
    return gnomon_text(gnomon_string_in(data, "customer_id"));
}

static void order_placed(const gnomon_event *event)
{
    gnomon_merge(&customers, GNOMON_VALUES(customer(gnomon_data(event))),
                 GNOMON_CHANGES(gnomon_add("orders", gnomon_integer(1)),
                                gnomon_max("last_order_at", gnomon_timestamp(event->recorded_at))));
}

static void payment_received(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    int64_t cents = gnomon_integer_in(data, "amount_cents");
    gnomon_merge(&customers, GNOMON_VALUES(customer(data)),
                 GNOMON_CHANGES(gnomon_add("paid_cents", gnomon_integer(cents))));
}

static void order_cancelled(const gnomon_event *event)
{
    gnomon_merge(&customers, GNOMON_VALUES(customer(gnomon_data(event))),
                 GNOMON_CHANGES(gnomon_add("cancelled", gnomon_integer(1))));
}

GNOMON_PROJECTION(
    .name = "customer_value",
    .version = 1,
    .tables = GNOMON_TABLES(&customers),
    .handlers = GNOMON_HANDLERS(
        {"OrderPlaced", order_placed},
        {"PaymentReceived", payment_received},
        {"OrderCancelled", order_cancelled}));
