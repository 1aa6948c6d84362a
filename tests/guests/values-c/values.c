/* Copies values of every column type from events to rows and from row to row.
 * tests/tests/end_to_end/languages.rs defines it, for all languages. */
#include "gnomon.h"

enum { NAME, TRUTH, WHOLE, FRACTION, EXACT, WORDS, OCTETS, MOMENT, DAY, IDENTITY, DOCUMENT, COLUMNS };

static gnomon_table copies = {
    .name = "value_copies",
    .columns = GNOMON_COLUMNS(
        {"name", GNOMON_TEXT},
        {"truth", GNOMON_BOOLEAN, .nullable = true},
        {"whole", GNOMON_INTEGER, .nullable = true},
        {"fraction", GNOMON_FLOAT, .nullable = true},
        {"exact", GNOMON_DECIMAL, .nullable = true},
        {"words", GNOMON_TEXT, .nullable = true},
        {"octets", GNOMON_BYTES, .nullable = true},
        {"moment", GNOMON_TIMESTAMP, .nullable = true},
        {"day", GNOMON_DATE, .nullable = true},
        {"identity", GNOMON_UUID, .nullable = true},
        {"document", GNOMON_JSON, .nullable = true}),
    .primary_key = GNOMON_NAMES("name"),
};

static gnomon_value octets(const gnomon_event *event, gnomon_string text)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *bytes = gnomon_alloc(text.length / 2);
    for (size_t i = 0; i < text.length; i++) {
        unsigned digit = 0;
        while (digit < 16 && digits[digit] != text.data[i]) digit++;
        if (digit == 16 || text.length % 2) {
            gnomon_reject(event, "`%.*s` is no hexadecimal number", GNOMON_SHOWN(text));
            break;
        }
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | digit);
    }
    return gnomon_bytes(bytes, text.length / 2);
}

static int64_t whole(const gnomon_event *event, gnomon_string text)
{
    int64_t number = 0;
    if (!gnomon_parse_integer(text, &number))
        gnomon_reject(event, "`%.*s` is no whole number", GNOMON_SHOWN(text));
    return number;
}

static double fraction(const gnomon_event *event, gnomon_string text)
{
    double number = 0;
    if (!gnomon_parse_float(text, &number))
        gnomon_reject(event, "`%.*s` is no number", GNOMON_SHOWN(text));
    return number;
}

static gnomon_value value(const gnomon_event *event, int column, gnomon_string text)
{
    switch (column) {
    case TRUTH: return gnomon_boolean(gnomon_equal(text, "true"));
    case WHOLE: return gnomon_integer(whole(event, text));
    case FRACTION: return gnomon_float(fraction(event, text));
    case EXACT: return gnomon_decimal(text);
    case OCTETS: return octets(event, text);
    case MOMENT: return gnomon_timestamp(whole(event, text));
    case DAY: return gnomon_date((int32_t)whole(event, text));
    case IDENTITY: return gnomon_uuid(text);
    case DOCUMENT: return gnomon_document(text);
    default: return gnomon_text(text);
    }
}

static void value_seen(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    gnomon_value row[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        gnomon_json given = gnomon_member(data, copies.columns[i].name);
        row[i] = gnomon_is_json_null(given) ? gnomon_null() : value(event, i, gnomon_string_of(given));
    }
    gnomon_put(&copies, (gnomon_values){row, COLUMNS});
}

static void value_copied(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    gnomon_string from = gnomon_string_in(data, "from");
    gnomon_row found = gnomon_get(&copies, GNOMON_VALUES(gnomon_text(from)));
    if (!found) {
        gnomon_reject(event, "there is no value `%.*s`", GNOMON_SHOWN(from));
        return;
    }
    gnomon_value row[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) row[i] = found[i];
    row[NAME] = gnomon_text(gnomon_string_in(data, "to"));
    gnomon_put(&copies, (gnomon_values){row, COLUMNS});
}

static void line_said(const gnomon_event *event)
{
    gnomon_log(GNOMON_INFO, "%.*s", GNOMON_SHOWN(gnomon_string_in(gnomon_data(event), "line")));
}

static void event_refused(const gnomon_event *event)
{
    gnomon_reject(event, "%.*s", GNOMON_SHOWN(gnomon_string_in(gnomon_data(event), "why")));
}

static void fault_met(const gnomon_event *event)
{
    (void)event;
    gnomon_row nothing = gnomon_get(&copies, GNOMON_VALUES(gnomon_text(GNOMON_STRING("no such value"))));
    gnomon_put(&copies, (gnomon_values){(const gnomon_value[]){nothing[NAME]}, 1});
}

GNOMON_PROJECTION(
    .name = "value_copies",
    .version = 1,
    .tables = GNOMON_TABLES(&copies),
    .handlers = GNOMON_HANDLERS(
        {"ValueSeen", value_seen},
        {"ValueCopied", value_copied},
        {"LineSaid", line_said},
        {"EventRefused", event_refused},
        {"FaultMet", fault_met}));
