/* What customers spend: one row for each of them. */
#include "gnomon.h"

static gnomon_table customers = {
    .name = "{{projection}}",
    .columns = GNOMON_COLUMNS(
        {"customer_id", GNOMON_TEXT},
        {"orders", GNOMON_INTEGER},
        {"spent_cents", GNOMON_INTEGER},
        {"last_order_at", GNOMON_TIMESTAMP, .nullable = true}),
    .primary_key = GNOMON_NAMES("customer_id"),
};

/* gnomon_merge creates the row if it is missing, each column at zero. */
static void order_placed(const gnomon_event *event)
{
    gnomon_string customer = gnomon_string_in(gnomon_data(event), "customer_id");
    gnomon_merge(&customers, GNOMON_VALUES(gnomon_text(customer)),
                 GNOMON_CHANGES(gnomon_add("orders", gnomon_integer(1)),
                                gnomon_max("last_order_at", gnomon_timestamp(event->recorded_at))));
}

static void payment_received(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    int64_t cents = gnomon_integer_in(data, "amount_cents");
    if (cents < 0) gnomon_reject(event, "a payment of %lld cents", cents);
    gnomon_merge(&customers, GNOMON_VALUES(gnomon_text(gnomon_string_in(data, "customer_id"))),
                 GNOMON_CHANGES(gnomon_add("spent_cents", gnomon_integer(cents))));
}

GNOMON_PROJECTION(
    .name = "{{projection}}",
    /* Increase this whenever the same events should produce different rows. */
    .version = 1,
    .tables = GNOMON_TABLES(&customers),
    .handlers = GNOMON_HANDLERS(
        {"OrderPlaced", order_placed},
        {"PaymentReceived", payment_received}));
