/* Does the operations on tables that most projections can do without.
 * tests/tests/end_to_end/languages/operations.rs defines it, for all languages. */
#include "gnomon.h"

enum { NAME, CITY, AGE };

static gnomon_table people = {
    .name = "people",
    .columns = GNOMON_COLUMNS(
        {"name", GNOMON_TEXT},
        {"city", GNOMON_TEXT},
        {"age", GNOMON_INTEGER},
        {"note", GNOMON_TEXT, .nullable = true}),
    .primary_key = GNOMON_NAMES("name"),
    .indexes = GNOMON_INDEXES(GNOMON_NAMES("city")),
};

static gnomon_table answers = {
    .name = "answers",
    .columns = GNOMON_COLUMNS({"position", GNOMON_INTEGER}, {"answer", GNOMON_TEXT}),
    .primary_key = GNOMON_NAMES("position"),
};

static gnomon_value text_in(gnomon_json data, const char *name)
{
    return gnomon_text(gnomon_string_in(data, name));
}

static gnomon_value integer_in(gnomon_json data, const char *name)
{
    return gnomon_integer(gnomon_integer_in(data, name));
}

static void put(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    gnomon_put(&people, GNOMON_VALUES(text_in(data, "name"), text_in(data, "city"), integer_in(data, "age"),
                                      gnomon_null()));
}

static void patched(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    gnomon_patch(&people, GNOMON_VALUES(text_in(data, "name")),
                 GNOMON_CHANGES(gnomon_add("age", integer_in(data, "add")),
                                gnomon_set("note", gnomon_text(GNOMON_STRING("patched")))));
}

static void clamped(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    gnomon_value name = text_in(data, "name");
    gnomon_patch(&people, GNOMON_VALUES(name), GNOMON_CHANGES(gnomon_max("age", integer_in(data, "min"))));
    gnomon_patch(&people, GNOMON_VALUES(name), GNOMON_CHANGES(gnomon_min("age", integer_in(data, "max"))));
}

static void city_patched(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    gnomon_patch_where(&people, GNOMON_NAMES("city"), GNOMON_VALUES(text_in(data, "city")),
                       GNOMON_CHANGES(gnomon_add("age", integer_in(data, "add")),
                                      gnomon_set("note", gnomon_null())));
}

static void removed(const gnomon_event *event)
{
    gnomon_remove(&people, GNOMON_VALUES(text_in(gnomon_data(event), "name")));
}

static void city_removed(const gnomon_event *event)
{
    gnomon_remove_where(&people, GNOMON_NAMES("city"), GNOMON_VALUES(text_in(gnomon_data(event), "city")));
}

static void answer(const gnomon_event *event, gnomon_string found)
{
    gnomon_put(&answers, GNOMON_VALUES(gnomon_integer((int64_t)event->position), gnomon_text(found)));
}

static gnomon_string joined(gnomon_string list, size_t place, gnomon_string item)
{
    return gnomon_format("%.*s%s%.*s", GNOMON_SHOWN(list), place ? "," : "", GNOMON_SHOWN(item));
}

static void asked(const gnomon_event *event)
{
    gnomon_json data = gnomon_data(event);
    gnomon_rows found = gnomon_find(&people, GNOMON_NAMES("city"), GNOMON_VALUES(text_in(data, "city")),
                                    (uint32_t)gnomon_integer_in(data, "limit"));
    gnomon_string names = GNOMON_STRING("");
    for (size_t i = 0; i < found.count; i++) names = joined(names, i, found.rows[i][NAME].string);
    answer(event, names);
}

static void asked_for(const gnomon_event *event)
{
    gnomon_json names = gnomon_member(gnomon_data(event), "names");
    size_t count = 0;
    for (gnomon_json name = gnomon_first(names); gnomon_exists(name); name = gnomon_next(name)) count++;
    gnomon_value *cells = gnomon_alloc(count * sizeof *cells);
    gnomon_values *keys = gnomon_alloc(count * sizeof *keys);
    size_t place = 0;
    for (gnomon_json name = gnomon_first(names); gnomon_exists(name); name = gnomon_next(name), place++) {
        cells[place] = gnomon_text(gnomon_string_of(name));
        keys[place] = (gnomon_values){&cells[place], 1};
    }
    gnomon_rows found = gnomon_get_many(&people, keys, count);
    gnomon_string people_found = GNOMON_STRING("");
    for (size_t i = 0; i < found.count; i++) {
        gnomon_row person = found.rows[i];
        people_found = joined(people_found, i,
                              person ? gnomon_format("%.*s:%lld", GNOMON_SHOWN(person[NAME].string),
                                                     (long long)person[AGE].integer)
                                     : GNOMON_STRING("-"));
    }
    answer(event, people_found);
}

GNOMON_PROJECTION(
    .name = "operations",
    .version = 1,
    .tables = GNOMON_TABLES(&people, &answers),
    .handlers = GNOMON_HANDLERS(
        {"Put", put},
        {"Patched", patched},
        {"Clamped", clamped},
        {"CityPatched", city_patched},
        {"Removed", removed},
        {"CityRemoved", city_removed},
        {"Asked", asked},
        {"AskedFor", asked_for}));
