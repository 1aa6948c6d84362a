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

/* The same, and none is null. */
static gnomon_table cells = {
    .name = "value_cells",
    .columns = GNOMON_COLUMNS(
        {"name", GNOMON_TEXT},
        {"truth", GNOMON_BOOLEAN},
        {"whole", GNOMON_INTEGER},
        {"fraction", GNOMON_FLOAT},
        {"exact", GNOMON_DECIMAL},
        {"words", GNOMON_TEXT},
        {"octets", GNOMON_BYTES},
        {"moment", GNOMON_TIMESTAMP},
        {"day", GNOMON_DATE},
        {"identity", GNOMON_UUID},
        {"document", GNOMON_JSON}),
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

static void fill(gnomon_table *table, gnomon_json data, const char *column, gnomon_value value)
{
    gnomon_merge(table, GNOMON_VALUES(gnomon_text(gnomon_string_in(data, "name"))),
                 GNOMON_CHANGES(gnomon_set(column, value)));
}

#define GIVEN(handler, column, value)                                                    \
    static void handler##_given(const gnomon_event *event)                               \
    {                                                                                    \
        gnomon_json data = gnomon_data(event);                                           \
        fill(&cells, data, column, value);                                               \
    }                                                                                    \
    static void maybe_##handler##_given(const gnomon_event *event)                       \
    {                                                                                    \
        gnomon_json data = gnomon_data(event);                                           \
        bool is_null = gnomon_is_json_null(gnomon_member(data, "cell"));                 \
        fill(&copies, data, column, is_null ? gnomon_null() : value);                    \
    }

GIVEN(truth, "truth", gnomon_boolean(gnomon_boolean_in(data, "cell")))
GIVEN(whole_number, "whole", gnomon_integer(gnomon_integer_in(data, "cell")))
GIVEN(fraction, "fraction", gnomon_float(gnomon_float_in(data, "cell")))
GIVEN(exact, "exact", gnomon_decimal(gnomon_decimal_in(data, "cell")))
GIVEN(words, "words", gnomon_text(gnomon_string_in(data, "cell")))
GIVEN(moment, "moment", gnomon_timestamp(gnomon_timestamp_in(data, "cell")))
GIVEN(day, "day", gnomon_date(gnomon_date_in(data, "cell")))
GIVEN(identity, "identity", gnomon_uuid(gnomon_uuid_in(data, "cell")))
GIVEN(document, "document", gnomon_document(gnomon_source_in(data, "cell")))

static gnomon_string digits(const char *before, int times)
{
    gnomon_string text = gnomon_format("%s", before);
    for (int i = 0; i < times; i++) text = gnomon_format("%.*s1234567890", GNOMON_SHOWN(text));
    return text;
}

/* Values that the code makes, and no event has. */
static void value_made(const gnomon_event *event)
{
    static const struct {
        const char *how, *column;
        double real;
    } floats[] = {
        {"nan", "fraction", __builtin_nan("")},
        {"infinity", "fraction", __builtin_inf()},
        {"negative infinity", "fraction", -__builtin_inf()},
        {"negative zero", "fraction", -0.0},
    };
    gnomon_json data = gnomon_data(event);
    gnomon_string how = gnomon_string_in(data, "how");
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        if (gnomon_equal(how, floats[i].how)) fill(&cells, data, floats[i].column, gnomon_float(floats[i].real));
    if (gnomon_equal(how, "80 digits")) fill(&cells, data, "exact", gnomon_decimal(digits("", 8)));
    if (gnomon_equal(how, "100 places")) fill(&cells, data, "exact", gnomon_decimal(digits("-0.", 10)));
    if (gnomon_equal(how, "a whole number as a decimal"))
        fill(&cells, data, "exact", gnomon_decimal(gnomon_format("%d", -5)));
    if (gnomon_equal(how, "a fraction as a decimal")) fill(&cells, data, "exact", gnomon_decimal(GNOMON_STRING("1e3")));
    if (gnomon_equal(how, "no decimal")) fill(&cells, data, "exact", gnomon_decimal(GNOMON_STRING("")));
    if (gnomon_equal(how, "empty")) fill(&cells, data, "words", gnomon_text(GNOMON_STRING("")));
    if (gnomon_equal(how, "nul")) fill(&cells, data, "words", gnomon_text(GNOMON_STRING("a\0b")));
    if (gnomon_equal(how, "another type")) fill(&cells, data, "whole", gnomon_text(GNOMON_STRING("5")));
    if (gnomon_equal(how, "a day too far")) fill(&cells, data, "day", gnomon_date(INT32_MAX));
    if (gnomon_equal(how, "a moment too far")) fill(&cells, data, "moment", gnomon_timestamp(INT64_MAX));
}

GNOMON_PROJECTION(
    .name = "value_copies",
    .version = 1,
    .tables = GNOMON_TABLES(&copies, &cells),
    .handlers = GNOMON_HANDLERS(
        {"ValueSeen", value_seen},
        {"ValueMade", value_made},
        {"TruthGiven", truth_given},
        {"MaybeTruthGiven", maybe_truth_given},
        {"WholeGiven", whole_number_given},
        {"MaybeWholeGiven", maybe_whole_number_given},
        {"FractionGiven", fraction_given},
        {"MaybeFractionGiven", maybe_fraction_given},
        {"ExactGiven", exact_given},
        {"MaybeExactGiven", maybe_exact_given},
        {"WordsGiven", words_given},
        {"MaybeWordsGiven", maybe_words_given},
        {"MomentGiven", moment_given},
        {"MaybeMomentGiven", maybe_moment_given},
        {"DayGiven", day_given},
        {"MaybeDayGiven", maybe_day_given},
        {"IdentityGiven", identity_given},
        {"MaybeIdentityGiven", maybe_identity_given},
        {"DocumentGiven", document_given},
        {"MaybeDocumentGiven", maybe_document_given},
        {"ValueCopied", value_copied},
        {"LineSaid", line_said},
        {"EventRefused", event_refused},
        {"FaultMet", fault_met}));
