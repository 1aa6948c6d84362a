/* Gnomon projections in C: events in, rows of SQL tables out.
 *
 *     #include "gnomon.h"
 *
 *     static gnomon_table spending = {
 *         .name = "spending",
 *         .columns = GNOMON_COLUMNS({"customer_id", GNOMON_TEXT}, {"spent_cents", GNOMON_INTEGER}),
 *         .primary_key = GNOMON_NAMES("customer_id"),
 *     };
 *
 *     static void payment_received(const gnomon_event *event)
 *     {
 *         gnomon_json data = gnomon_data(event);
 *         gnomon_merge(&spending, GNOMON_VALUES(gnomon_text(gnomon_string_in(data, "customer_id"))),
 *                      GNOMON_CHANGES(gnomon_add("spent_cents", gnomon_integer(
 *                                         gnomon_integer_in(data, "amount_cents")))));
 *     }
 *
 *     GNOMON_PROJECTION(
 *         .name = "spending", .version = 1,
 *         .tables = GNOMON_TABLES(&spending),
 *         .handlers = GNOMON_HANDLERS({"PaymentReceived", payment_received}));
 *
 * `gnomon build` compiles it, freestanding, together with gnomon.c.
 *
 * Errors. C has no exceptions, and needs none here: the first thing that goes
 * wrong in an event (gnomon_reject, a field that is missing, undefined
 * behaviour such as the use of a null pointer) rejects the event, with file and
 * line. What the handler still writes is dropped with the whole batch, and what
 * it still reads is null, zero or empty, so only a loop needs to look at
 * gnomon_rejected.
 *
 * Memory. gnomon_alloc, all strings and all rows live until the batch ends, and
 * then go at once; nothing is freed. Nothing may be kept from one batch to the
 * next: the host throws the instance away. */
#ifndef GNOMON_H
#define GNOMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* UTF-8, not terminated. */
typedef struct gnomon_string {
    const char *data;
    size_t length;
} gnomon_string;

/* ---- Values ---- */

typedef enum gnomon_type {
    GNOMON_BOOLEAN,
    GNOMON_INTEGER,
    GNOMON_FLOAT,
    GNOMON_DECIMAL,
    GNOMON_TEXT,
    GNOMON_BYTES,
    GNOMON_TIMESTAMP,
    GNOMON_DATE,
    GNOMON_UUID,
    GNOMON_JSON,
} gnomon_type;

/* One cell of a row. It has the layout of the contract: rows cross the boundary
 * as they are. */
typedef struct gnomon_value {
    uint8_t kind; /* 0 for null, else the gnomon_type plus 1 */
    union {
        bool boolean;
        int64_t integer; /* microseconds since 1970 in a timestamp */
        double real;
        int32_t days; /* days since 1970 in a date */
        gnomon_string string; /* decimal, text, bytes, UUID, JSON */
    };
} gnomon_value;

gnomon_value gnomon_null(void);
gnomon_value gnomon_boolean(bool value);
gnomon_value gnomon_integer(int64_t value);
gnomon_value gnomon_float(double value);
gnomon_value gnomon_decimal(gnomon_string plain_notation);
gnomon_value gnomon_text(gnomon_string value);
gnomon_value gnomon_bytes(const void *data, size_t length);
gnomon_value gnomon_timestamp(int64_t microseconds);
gnomon_value gnomon_date(int32_t days);
gnomon_value gnomon_uuid(gnomon_string value);
gnomon_value gnomon_document(gnomon_string json);

static inline bool gnomon_is_null(gnomon_value value) { return value.kind == 0; }

/* ---- Tables ---- */

typedef struct gnomon_column {
    const char *name;
    gnomon_type type;
    bool nullable;
} gnomon_column;

/* Lists that end by themselves. */
#define GNOMON_COLUMNS(...) ((const gnomon_column[]){__VA_ARGS__, {0}})
#define GNOMON_NAMES(...) ((const char *const[]){__VA_ARGS__, 0})
#define GNOMON_INDEXES(...) ((const char *const *const[]){__VA_ARGS__, 0})

typedef struct gnomon_table {
    const char *name;
    const gnomon_column *columns;     /* GNOMON_COLUMNS({"id", GNOMON_TEXT}, …) */
    const char *const *primary_key;   /* GNOMON_NAMES("id") */
    const char *const *const *indexes; /* GNOMON_INDEXES(GNOMON_NAMES("city")), or none */
    int32_t handle;                   /* gnomon.c's own */
} gnomon_table;

/* Values, of a row or of a key, and how many they are. */
typedef struct gnomon_values {
    const gnomon_value *values;
    size_t count;
} gnomon_values;

#define GNOMON_LIST_(type, ...) \
    (const type[]){__VA_ARGS__}, sizeof((const type[]){__VA_ARGS__}) / sizeof(type)
#define GNOMON_VALUES(...) ((gnomon_values){GNOMON_LIST_(gnomon_value, __VA_ARGS__)})

typedef struct gnomon_change {
    uint8_t kind;
    struct {
        gnomon_string column;
        gnomon_value value;
    };
} gnomon_change;

typedef struct gnomon_changes {
    const gnomon_change *changes;
    size_t count;
} gnomon_changes;

#define GNOMON_CHANGES(...) ((gnomon_changes){GNOMON_LIST_(gnomon_change, __VA_ARGS__)})

gnomon_change gnomon_set(const char *column, gnomon_value value);
gnomon_change gnomon_add(const char *column, gnomon_value value);
gnomon_change gnomon_min(const char *column, gnomon_value value);
gnomon_change gnomon_max(const char *column, gnomon_value value);

/* A row has a value for each column, in their order. */
typedef const gnomon_value *gnomon_row;

typedef struct gnomon_rows {
    const gnomon_row *rows; /* each may be null after gnomon_get_many */
    size_t count;
} gnomon_rows;

/* The row under a primary key, or null. */
gnomon_row gnomon_get(gnomon_table *table, gnomon_values key);
/* The rows under many keys, in their order, in one round trip. */
gnomon_rows gnomon_get_many(gnomon_table *table, const gnomon_values *keys, size_t count);
/* Rows by the columns of an index, in the order of the key, at most `limit`. */
gnomon_rows gnomon_find(gnomon_table *table, const char *const *columns, gnomon_values values, uint32_t limit);
/* Inserts the row, or replaces the one under its key. */
void gnomon_put(gnomon_table *table, gnomon_values row);
/* Changes the row under the key; without such a row, does nothing. */
void gnomon_patch(gnomon_table *table, gnomon_values key, gnomon_changes changes);
/* The same, but without such a row it makes one of zeros and nulls first. */
void gnomon_merge(gnomon_table *table, gnomon_values key, gnomon_changes changes);
void gnomon_remove(gnomon_table *table, gnomon_values key);
/* On every row that gnomon_find would give without a limit. */
void gnomon_patch_where(gnomon_table *table, const char *const *columns, gnomon_values values, gnomon_changes changes);
void gnomon_remove_where(gnomon_table *table, const char *const *columns, gnomon_values values);

/* ---- Events ---- */

/* Also in the contract's layout. */
typedef struct gnomon_event {
    uint64_t position;
    gnomon_string id;
    gnomon_string stream_id;
    gnomon_string type;
    uint64_t version;
    uint32_t schema_version;
    struct {
        uint8_t is_binary; /* 0: one JSON document, see gnomon_data; 1: bytes */
        gnomon_string content;
    } data;
    gnomon_string metadata; /* one JSON object, or empty if it was not asked for */
    int64_t recorded_at;    /* microseconds since 1970, UTC */
} gnomon_event;

typedef struct gnomon_handler {
    const char *event_type;
    void (*apply)(const gnomon_event *event);
} gnomon_handler;

typedef struct gnomon_projection {
    const char *name;
    uint32_t version;
    gnomon_table *const *tables;
    const gnomon_handler *handlers;
    const char *const *categories; /* GNOMON_NAMES("Order"); none: all streams */
    bool metadata;                 /* whether event->metadata is filled in */
} gnomon_projection;

#define GNOMON_TABLES(...) ((gnomon_table *const[]){__VA_ARGS__, 0})
#define GNOMON_HANDLERS(...) ((const gnomon_handler[]){__VA_ARGS__, {0}})
#define GNOMON_PROJECTION(...) const gnomon_projection gnomon_this_projection = {__VA_ARGS__}
extern const gnomon_projection gnomon_this_projection;

/* Rejects an event: gnomon_reject(event, "no order %.*s", GNOMON_SHOWN(id)).
 * The first rejection counts. It does not return from the handler. */
#define gnomon_reject(event, ...) gnomon_reject_at(event, __FILE__, __LINE__, __VA_ARGS__)
bool gnomon_rejected(void);

/* ---- JSON ---- */

/* A part of a JSON document; where there is none, `begin` is null. */
typedef struct gnomon_json {
    const char *begin;
    const char *end;
    const char *document_end;
} gnomon_json;

#define gnomon_data(event) gnomon_data_at(event, __FILE__, __LINE__)
gnomon_json gnomon_parse(gnomon_string document);

/* The member of an object; the last of several. None where there is none. */
gnomon_json gnomon_member(gnomon_json object, const char *name);
/* for (gnomon_json item = gnomon_first(list); gnomon_exists(item); item = gnomon_next(item)) */
gnomon_json gnomon_first(gnomon_json array);
gnomon_json gnomon_next(gnomon_json element);
static inline bool gnomon_exists(gnomon_json json) { return json.begin != 0; }
/* Whether it is null, or not there. */
bool gnomon_is_json_null(gnomon_json json);

/* What a JSON value holds; another value, or none, rejects the event. */
#define gnomon_string_of(json) gnomon_string_at(json, 0, __FILE__, __LINE__)
#define gnomon_integer_of(json) gnomon_integer_at(json, 0, __FILE__, __LINE__)
#define gnomon_float_of(json) gnomon_float_at(json, 0, __FILE__, __LINE__)
#define gnomon_boolean_of(json) gnomon_boolean_at(json, 0, __FILE__, __LINE__)
/* A string in plain notation such as "-12.50", or a whole number of any size; a
 * number with a fraction has been through binary floating point in most
 * producers, and rejects the event. */
#define gnomon_decimal_of(json) gnomon_decimal_at(json, 0, __FILE__, __LINE__)
/* Microseconds since 1970 of a string such as "2025-01-15T10:30:00.5+02:00". */
#define gnomon_timestamp_of(json) gnomon_timestamp_at(json, 0, __FILE__, __LINE__)
/* Days since 1970 of a string such as "2025-01-15". */
#define gnomon_date_of(json) gnomon_date_at(json, 0, __FILE__, __LINE__)
/* A string of 36 characters. */
#define gnomon_uuid_of(json) gnomon_uuid_at(json, 0, __FILE__, __LINE__)
/* Its own text, for columns of JSON. */
#define gnomon_source_of(json) gnomon_source_at(json, 0, __FILE__, __LINE__)

/* The same for a member of an object, by its name. */
#define gnomon_string_in(object, name) gnomon_string_at(gnomon_member(object, name), name, __FILE__, __LINE__)
#define gnomon_integer_in(object, name) gnomon_integer_at(gnomon_member(object, name), name, __FILE__, __LINE__)
#define gnomon_float_in(object, name) gnomon_float_at(gnomon_member(object, name), name, __FILE__, __LINE__)
#define gnomon_boolean_in(object, name) gnomon_boolean_at(gnomon_member(object, name), name, __FILE__, __LINE__)
#define gnomon_decimal_in(object, name) gnomon_decimal_at(gnomon_member(object, name), name, __FILE__, __LINE__)
#define gnomon_timestamp_in(object, name) gnomon_timestamp_at(gnomon_member(object, name), name, __FILE__, __LINE__)
#define gnomon_date_in(object, name) gnomon_date_at(gnomon_member(object, name), name, __FILE__, __LINE__)
#define gnomon_uuid_in(object, name) gnomon_uuid_at(gnomon_member(object, name), name, __FILE__, __LINE__)
#define gnomon_source_in(object, name) gnomon_source_at(gnomon_member(object, name), name, __FILE__, __LINE__)

/* ---- Strings, memory, log ---- */

/* gnomon_string text = GNOMON_STRING("placed"); */
#define GNOMON_STRING(literal) ((gnomon_string){"" literal, sizeof(literal) - 1})
/* The two arguments of a `%.*s`. */
#define GNOMON_SHOWN(string) (int)(string).length, (string).data

bool gnomon_equal(gnomon_string string, const char *other);
/* Whole decimal digits in the range of 64 bits. */
bool gnomon_parse_integer(gnomon_string text, int64_t *number);
/* As JSON writes numbers; rounded exactly. */
bool gnomon_parse_float(gnomon_string text, double *number);

/* Formats know %s, %.*s, %c, %d, %u, %x (with l, ll or z) and %%. */
gnomon_string gnomon_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Until the batch ends, zeroed. */
void *gnomon_alloc(size_t size);

typedef enum gnomon_level { GNOMON_TRACE, GNOMON_DEBUG, GNOMON_INFO, GNOMON_WARN, GNOMON_ERROR } gnomon_level;
/* A line in the host's log. */
void gnomon_log(gnomon_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- What the macros call ---- */

void gnomon_reject_at(const gnomon_event *event, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
gnomon_json gnomon_data_at(const gnomon_event *event, const char *file, int line);
gnomon_string gnomon_string_at(gnomon_json json, const char *name, const char *file, int line);
int64_t gnomon_integer_at(gnomon_json json, const char *name, const char *file, int line);
double gnomon_float_at(gnomon_json json, const char *name, const char *file, int line);
gnomon_string gnomon_decimal_at(gnomon_json json, const char *name, const char *file, int line);
int64_t gnomon_timestamp_at(gnomon_json json, const char *name, const char *file, int line);
int32_t gnomon_date_at(gnomon_json json, const char *name, const char *file, int line);
gnomon_string gnomon_uuid_at(gnomon_json json, const char *name, const char *file, int line);
bool gnomon_boolean_at(gnomon_json json, const char *name, const char *file, int line);
gnomon_string gnomon_source_at(gnomon_json json, const char *name, const char *file, int line);

#endif
