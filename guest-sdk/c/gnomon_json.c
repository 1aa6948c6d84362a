/* Reads JSON where it stands: nothing is copied but strings with escapes. */
#include "gnomon_internal.h"

static const gnomon_json nothing;

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* From a quotation mark to behind the other one; null if there is none. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        if (*at == '"') return at + 1;
        if ((unsigned char)*at < 0x20) return 0;
        if (*at == '\\') at++;
    }
    return 0;
}

/* Behind a value that begins at `at`; null if none does. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    do {
        at = skip_space(at, end);
        if (at >= end) return 0;
        switch (*at) {
        case '"':
            at = skip_string(at, end);
            if (!at) return 0;
            break;
        case '{':
        case '[': depth++, at++; break;
        case '}':
        case ']':
            if (!depth) return 0;
            depth--, at++;
            break;
        case ',':
        case ':':
            if (!depth) return 0;
            at++;
            break;
        default: {
            const char *begin = at;
            while (at < end && ((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || *at == 'E' ||
                                *at == '+' || *at == '-' || *at == '.'))
                at++;
            if (at == begin) return 0;
        }
        }
    } while (depth);
    return at;
}

static gnomon_json value_at(const char *at, const char *end)
{
    const char *begin = skip_space(at, end);
    const char *behind = skip_value(begin, end);
    return behind ? (gnomon_json){begin, behind, end} : nothing;
}

gnomon_json gnomon_parse(gnomon_string document)
{
    const char *end = document.data + document.length;
    gnomon_json json = value_at(document.data, end);
    return json.begin && skip_space(json.end, end) == end ? json : nothing;
}

gnomon_json gnomon_data_at(const gnomon_event *event, const char *file, int line)
{
    gnomon_json json = event->data.is_binary ? nothing : gnomon_parse(event->data.content);
    if (!json.begin) gnomon_reject_at(event, file, line, "its data is not JSON");
    return json;
}

gnomon_json gnomon_next(gnomon_json element)
{
    if (!element.begin) return nothing;
    const char *at = skip_space(element.end, element.document_end);
    if (at >= element.document_end || *at != ',') return nothing;
    return value_at(at + 1, element.document_end);
}

gnomon_json gnomon_first(gnomon_json array)
{
    if (!array.begin || *array.begin != '[') return nothing;
    return value_at(array.begin + 1, array.end);
}

static bool unescape(gnomon_json json, gnomon_string *string);

gnomon_json gnomon_member(gnomon_json object, const char *name)
{
    gnomon_json found = nothing;
    if (!object.begin || *object.begin != '{') return nothing;
    gnomon_json key = value_at(object.begin + 1, object.end);
    while (key.begin && *key.begin == '"') {
        const char *at = skip_space(key.end, object.end);
        if (at >= object.end || *at != ':') return nothing;
        gnomon_json value = value_at(at + 1, object.end);
        gnomon_string key_name;
        if (value.begin && unescape(key, &key_name) && gnomon_equal(key_name, name)) found = value;
        key = gnomon_next(value);
    }
    return found;
}

bool gnomon_is_json_null(gnomon_json json) { return !json.begin || *json.begin == 'n'; }

static size_t put_character(char *to, uint32_t character)
{
    if (character < 0x80) {
        to[0] = (char)character;
        return 1;
    }
    size_t more = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
    to[0] = (char)(0xff00 >> (more + 1) | character >> 6 * more);
    for (size_t i = 1; i <= more; i++) to[i] = (char)(0x80 | (character >> 6 * (more - i) & 0x3f));
    return more + 1;
}

/* Four hexadecimal digits, or a number that no character has. */
static uint32_t hexadecimal(const char *at, const char *end)
{
    uint32_t number = 0;
    if (end - at < 4) return UINT32_MAX;
    for (int i = 0; i < 4; i++) {
        char digit = at[i];
        number <<= 4;
        if (digit >= '0' && digit <= '9') number |= (uint32_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f') number |= (uint32_t)(digit - 'a' + 10);
        else if (digit >= 'A' && digit <= 'F') number |= (uint32_t)(digit - 'A' + 10);
        else return UINT32_MAX;
    }
    return number;
}

/* The text of a JSON string; fails if an escape means nothing. */
static bool unescape(gnomon_json json, gnomon_string *string)
{
    const char *at = json.begin + 1, *end = json.end - 1;
    *string = (gnomon_string){at, (size_t)(end - at)};
    while (at < end && *at != '\\') at++;
    if (at == end) return true;
    /* No escape is shorter than its character. */
    char *memory = gnomon_allocate(string->length, 1);
    size_t length = (size_t)(at - string->data);
    memcpy(memory, string->data, length);
    while (at < end) {
        if (*at != '\\') {
            memory[length++] = *at++;
            continue;
        }
        static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        size_t which = 0;
        while (escapes[which] && escapes[which] != at[1]) which++;
        if (escapes[which]) {
            memory[length++] = meant[which];
            at += 2;
            continue;
        }
        uint32_t character = at[1] == 'u' ? hexadecimal(at + 2, end) : UINT32_MAX;
        at += 6;
        if (character >= 0xd800 && character < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
            uint32_t low = hexadecimal(at + 2, end);
            at += 6;
            if (low < 0xdc00 || low >= 0xe000) return false;
            character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
        } else if (character >= 0xd800 && character < 0xe000) {
            return false;
        }
        if (character > 0x10ffff) return false;
        length += put_character(memory + length, character);
    }
    *string = (gnomon_string){memory, length};
    return true;
}

void gnomon_unexpected(gnomon_json json, const char *name, const char *expected, const char *file, int line)
{
    const char *of = name ? name : "a value", *quote = name ? "`" : "";
    if (!json.begin) {
        gnomon_reject_here(file, line, "%s%s%s is missing", quote, of, quote);
        return;
    }
    enum { SHOWN_MAX = 60 };
    size_t length = (size_t)(json.end - json.begin);
    bool whole = length <= SHOWN_MAX;
    /* Not within a character. */
    if (!whole)
        for (length = SHOWN_MAX; length && (json.begin[length] & 0xc0) == 0x80;) length--;
    gnomon_reject_here(file, line, "%s%s%s is %.*s%s, not %s", quote, of, quote, (int)length, json.begin,
                       whole ? "" : "…", expected);
}

bool gnomon_read_string(gnomon_json json, gnomon_string *string)
{
    return json.begin && *json.begin == '"' && unescape(json, string);
}

gnomon_string gnomon_string_at(gnomon_json json, const char *name, const char *file, int line)
{
    gnomon_string string;
    if (gnomon_read_string(json, &string)) return string;
    gnomon_unexpected(json, name, "a string", file, line);
    return (gnomon_string){"", 0};
}

gnomon_string gnomon_source_at(gnomon_json json, const char *name, const char *file, int line)
{
    if (json.begin) return (gnomon_string){json.begin, (size_t)(json.end - json.begin)};
    gnomon_unexpected(json, name, "", file, line);
    return (gnomon_string){"", 0};
}

static gnomon_string text_of(gnomon_json json)
{
    return json.begin ? (gnomon_string){json.begin, (size_t)(json.end - json.begin)} : (gnomon_string){"", 0};
}

int64_t gnomon_integer_at(gnomon_json json, const char *name, const char *file, int line)
{
    int64_t number;
    if (gnomon_parse_integer(text_of(json), &number)) return number;
    gnomon_unexpected(json, name, "a whole number of 64 bits", file, line);
    return 0;
}

double gnomon_float_at(gnomon_json json, const char *name, const char *file, int line)
{
    double number;
    if (gnomon_parse_float(text_of(json), &number)) return number;
    gnomon_unexpected(json, name, "a number of 64 bits", file, line);
    return 0;
}

bool gnomon_boolean_at(gnomon_json json, const char *name, const char *file, int line)
{
    gnomon_string text = text_of(json);
    if (gnomon_equal(text, "true")) return true;
    if (!gnomon_equal(text, "false")) gnomon_unexpected(json, name, "true or false", file, line);
    return false;
}

#pragma clang attribute pop
