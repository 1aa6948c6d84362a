#include "gnomon.h"

/* A column for each value of a row. */
static gnomon_table entries = {
    .name = "{{projection}}",
    .columns = GNOMON_COLUMNS({"id", GNOMON_TEXT}),
    .primary_key = GNOMON_NAMES("id"),
};

static void something_happened(const gnomon_event *event)
{
    gnomon_put(&entries, GNOMON_VALUES(gnomon_text(gnomon_string_in(gnomon_data(event), "id"))));
}

GNOMON_PROJECTION(
    .name = "{{projection}}",
    /* Increase this whenever the same events should produce different rows. */
    .version = 1,
    .tables = GNOMON_TABLES(&entries),
    /* A handler for each type of event that is wanted. */
    .handlers = GNOMON_HANDLERS({"SomethingHappened", something_happened}));
