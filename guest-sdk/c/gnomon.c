/* The boundary: tables, events and rejections, as the contract has them. Its
 * structs have the layout of the component model's canonical ABI. */
#include "gnomon_internal.h"

#define READ_MODEL "gnomon:projection/read-model@0.1.0"
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

typedef struct list {
    const void *items;
    size_t count;
} list;

typedef struct optional_row {
    uint8_t is_some;
    gnomon_values row;
} optional_row;

IMPORT(READ_MODEL, "[constructor]table") int32_t host_table(const char *name, size_t length);
IMPORT(READ_MODEL, "[resource-drop]table") void host_drop(int32_t table);
IMPORT(READ_MODEL, "[method]table.get")
void host_get(int32_t table, const gnomon_value *key, size_t count, optional_row *row);
IMPORT(READ_MODEL, "[method]table.get-many")
void host_get_many(int32_t table, const gnomon_values *keys, size_t count, list *rows);
IMPORT(READ_MODEL, "[method]table.find")
void host_find(int32_t table, const void *columns, size_t column_count, const gnomon_value *values,
               size_t value_count, uint32_t limit, list *rows);
IMPORT(READ_MODEL, "[method]table.put") void host_put(int32_t table, const gnomon_value *row, size_t count);
IMPORT(READ_MODEL, "[method]table.patch")
void host_patch(int32_t table, const gnomon_value *key, size_t key_count, const gnomon_change *changes,
                size_t change_count);
IMPORT(READ_MODEL, "[method]table.merge")
void host_merge(int32_t table, const gnomon_value *key, size_t key_count, const gnomon_change *changes,
                size_t change_count);
IMPORT(READ_MODEL, "[method]table.remove")
void host_remove(int32_t table, const gnomon_value *key, size_t count);
IMPORT(READ_MODEL, "[method]table.patch-where")
void host_patch_where(int32_t table, const void *columns, size_t column_count, const gnomon_value *values,
                      size_t value_count, const gnomon_change *changes, size_t change_count);
IMPORT(READ_MODEL, "[method]table.remove-where")
void host_remove_where(int32_t table, const void *columns, size_t column_count, const gnomon_value *values,
                       size_t value_count);
IMPORT("gnomon:projection/log@0.1.0", "write") void host_log(int32_t level, const char *message, size_t length);

/* ---- Rejections and the log ---- */

static const gnomon_event *current;

static struct {
    uint8_t is_rejection;
    struct {
        uint64_t position;
        gnomon_string message;
    } rejection;
} outcome;

bool gnomon_rejected(void) { return outcome.is_rejection; }

static void reject(const gnomon_event *event, const char *file, int line, const char *format, va_list arguments)
{
    if (outcome.is_rejection) return;
    gnomon_string message = gnomon_formatted(format, arguments);
    outcome.is_rejection = 1;
    outcome.rejection.position = event->position;
    outcome.rejection.message = gnomon_format("%.*s: %.*s (at %s:%d)", GNOMON_SHOWN(event->type),
                                              GNOMON_SHOWN(message), file, line);
}

void gnomon_reject_at(const gnomon_event *event, const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    reject(event, file, line, format, arguments);
    va_end(arguments);
}

void gnomon_reject_here(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (current) reject(current, file, line, format, arguments);
    va_end(arguments);
}

void gnomon_log(gnomon_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    gnomon_string message = gnomon_formatted(format, arguments);
    va_end(arguments);
    host_log(level, message.data, message.length);
}

/* ---- Values and changes ---- */

#define VALUE(type, member, given) ((gnomon_value){.kind = (type) + 1, .member = (given)})

gnomon_value gnomon_null(void) { return (gnomon_value){0}; }
gnomon_value gnomon_boolean(bool value) { return VALUE(GNOMON_BOOLEAN, boolean, value); }
gnomon_value gnomon_integer(int64_t value) { return VALUE(GNOMON_INTEGER, integer, value); }
gnomon_value gnomon_float(double value) { return VALUE(GNOMON_FLOAT, real, value); }
gnomon_value gnomon_decimal(gnomon_string value) { return VALUE(GNOMON_DECIMAL, string, value); }
gnomon_value gnomon_text(gnomon_string value) { return VALUE(GNOMON_TEXT, string, value); }
gnomon_value gnomon_timestamp(int64_t microseconds) { return VALUE(GNOMON_TIMESTAMP, integer, microseconds); }
gnomon_value gnomon_date(int32_t days) { return VALUE(GNOMON_DATE, days, days); }
gnomon_value gnomon_uuid(gnomon_string value) { return VALUE(GNOMON_UUID, string, value); }
gnomon_value gnomon_document(gnomon_string json) { return VALUE(GNOMON_JSON, string, json); }
gnomon_value gnomon_bytes(const void *data, size_t length)
{
    return VALUE(GNOMON_BYTES, string, ((gnomon_string){data, length}));
}

enum { SET, ADD, MIN, MAX };

static gnomon_change change(uint8_t kind, const char *column, gnomon_value value)
{
    return (gnomon_change){kind, {gnomon_of(column), value}};
}

gnomon_change gnomon_set(const char *column, gnomon_value value) { return change(SET, column, value); }
gnomon_change gnomon_add(const char *column, gnomon_value value) { return change(ADD, column, value); }
gnomon_change gnomon_min(const char *column, gnomon_value value) { return change(MIN, column, value); }
gnomon_change gnomon_max(const char *column, gnomon_value value) { return change(MAX, column, value); }

/* ---- Tables ---- */

/* Opened at the first use in a batch. After a rejection nothing may reach the
 * host: what a handler works with by then is not real. */
static bool is_open(gnomon_table *table)
{
    if (outcome.is_rejection) return false;
    if (!table->handle) table->handle = host_table(table->name, strlen(table->name));
    return true;
}

static list strings(const char *const *names)
{
    size_t count = 0;
    while (names && names[count]) count++;
    gnomon_string *items = gnomon_allocate(count * sizeof *items, sizeof(size_t));
    for (size_t i = 0; i < count; i++) items[i] = gnomon_of(names[i]);
    return (list){items, count};
}

gnomon_row gnomon_get(gnomon_table *table, gnomon_values key)
{
    optional_row found = {0};
    if (is_open(table)) host_get(table->handle, key.values, key.count, &found);
    return found.is_some ? found.row.values : 0;
}

gnomon_rows gnomon_get_many(gnomon_table *table, const gnomon_values *keys, size_t count)
{
    list found = {0};
    if (is_open(table)) host_get_many(table->handle, keys, count, &found);
    const optional_row *items = found.items;
    /* Also after a rejection there is an entry for each key. */
    gnomon_row *rows = gnomon_alloc(count * sizeof *rows);
    for (size_t i = 0; i < found.count; i++) rows[i] = items[i].is_some ? items[i].row.values : 0;
    return (gnomon_rows){rows, count};
}

gnomon_rows gnomon_find(gnomon_table *table, const char *const *columns, gnomon_values values, uint32_t limit)
{
    list found = {0}, names = strings(columns);
    if (is_open(table))
        host_find(table->handle, names.items, names.count, values.values, values.count, limit, &found);
    const gnomon_values *items = found.items;
    gnomon_row *rows = gnomon_alloc(found.count * sizeof *rows);
    for (size_t i = 0; i < found.count; i++) rows[i] = items[i].values;
    return (gnomon_rows){rows, found.count};
}

void gnomon_put(gnomon_table *table, gnomon_values row)
{
    if (is_open(table)) host_put(table->handle, row.values, row.count);
}

void gnomon_patch(gnomon_table *table, gnomon_values key, gnomon_changes changes)
{
    if (is_open(table)) host_patch(table->handle, key.values, key.count, changes.changes, changes.count);
}

void gnomon_merge(gnomon_table *table, gnomon_values key, gnomon_changes changes)
{
    if (is_open(table)) host_merge(table->handle, key.values, key.count, changes.changes, changes.count);
}

void gnomon_remove(gnomon_table *table, gnomon_values key)
{
    if (is_open(table)) host_remove(table->handle, key.values, key.count);
}

void gnomon_patch_where(gnomon_table *table, const char *const *columns, gnomon_values values,
                        gnomon_changes changes)
{
    list names = strings(columns);
    if (is_open(table))
        host_patch_where(table->handle, names.items, names.count, values.values, values.count,
                         changes.changes, changes.count);
}

void gnomon_remove_where(gnomon_table *table, const char *const *columns, gnomon_values values)
{
    list names = strings(columns);
    if (is_open(table)) host_remove_where(table->handle, names.items, names.count, values.values, values.count);
}

/* ---- The exports ---- */

typedef struct column {
    gnomon_string name;
    uint8_t type;
    bool nullable;
} column;

typedef struct schema {
    gnomon_string name;
    list columns, primary_key, indexes;
} schema;

static struct {
    gnomon_string name;
    uint32_t version;
    list event_types, categories;
    bool metadata;
    list tables;
} description;

static list columns_of(const gnomon_table *table)
{
    size_t count = 0;
    while (table->columns[count].name) count++;
    column *columns = gnomon_alloc(count * sizeof *columns);
    for (size_t i = 0; i < count; i++) {
        columns[i].name = gnomon_of(table->columns[i].name);
        columns[i].type = (uint8_t)table->columns[i].type;
        columns[i].nullable = table->columns[i].nullable;
    }
    return (list){columns, count};
}

static list indexes_of(const gnomon_table *table)
{
    size_t count = 0;
    while (table->indexes && table->indexes[count]) count++;
    list *indexes = gnomon_alloc(count * sizeof *indexes);
    for (size_t i = 0; i < count; i++) indexes[i] = strings(table->indexes[i]);
    return (list){indexes, count};
}

EXPORT("describe") const void *gnomon_describe(void)
{
    const gnomon_projection *projection = &gnomon_this_projection;
    size_t handlers = 0, tables = 0;
    while (projection->handlers && projection->handlers[handlers].event_type) handlers++;
    while (projection->tables && projection->tables[tables]) tables++;
    gnomon_string *types = gnomon_alloc(handlers * sizeof *types);
    for (size_t i = 0; i < handlers; i++) types[i] = gnomon_of(projection->handlers[i].event_type);
    schema *schemas = gnomon_alloc(tables * sizeof *schemas);
    for (size_t i = 0; i < tables; i++) {
        const gnomon_table *table = projection->tables[i];
        schemas[i] = (schema){gnomon_of(table->name), columns_of(table), strings(table->primary_key),
                              indexes_of(table)};
    }
    description.name = gnomon_of(projection->name);
    description.version = projection->version;
    description.event_types = (list){types, handlers};
    description.categories = strings(projection->categories);
    description.metadata = projection->metadata;
    description.tables = (list){schemas, tables};
    return &description;
}

static void apply(const gnomon_event *event)
{
    current = event;
    for (const gnomon_handler *handler = gnomon_this_projection.handlers; handler->event_type; handler++) {
        if (gnomon_equal(event->type, handler->event_type)) {
            handler->apply(event);
            return;
        }
    }
    gnomon_reject(event, "no handler for events of this type");
}

EXPORT("apply") const void *gnomon_apply(const gnomon_event *events, size_t count)
{
    outcome.is_rejection = 0;
    for (size_t i = 0; i < count && !outcome.is_rejection; i++) apply(&events[i]);
    current = 0;
    for (gnomon_table *const *table = gnomon_this_projection.tables; *table; table++) {
        if ((*table)->handle) host_drop((*table)->handle);
        (*table)->handle = 0;
    }
    return &outcome;
}

EXPORT("cabi_post_describe") void gnomon_after_describe(const void *result)
{
    (void)result;
    gnomon_release();
}

EXPORT("cabi_post_apply") void gnomon_after_apply(const void *result)
{
    (void)result;
    gnomon_release();
}

EXPORT("cabi_realloc") void *gnomon_reallocate(void *old, size_t old_length, size_t alignment, size_t length)
{
    void *memory = gnomon_allocate(length, alignment);
    if (old) memcpy(memory, old, old_length < length ? old_length : length);
    return memory;
}

#pragma clang attribute pop
