/* Values that JSON has as strings: decimals, times, days, UUIDs. */
#include "gnomon_internal.h"

/* ---- Decimals and UUIDs ---- */

static size_t digits_from(gnomon_string text, size_t at)
{
    size_t end = at;
    while (end < text.length && text.data[end] >= '0' && text.data[end] <= '9') end++;
    return end - at;
}

static bool is_decimal(gnomon_string text, bool may_have_fraction)
{
    size_t at = text.length && text.data[0] == '-';
    size_t whole = digits_from(text, at);
    at += whole;
    if (!whole) return false;
    if (at == text.length) return true;
    size_t fraction = digits_from(text, at + 1);
    return may_have_fraction && text.data[at] == '.' && fraction && at + 1 + fraction == text.length;
}

gnomon_string gnomon_decimal_at(gnomon_json json, const char *name, const char *file, int line)
{
    gnomon_string text = {"", 0};
    bool is_string = gnomon_read_string(json, &text);
    if (!is_string && json.begin) text = (gnomon_string){json.begin, (size_t)(json.end - json.begin)};
    if (is_decimal(text, is_string)) return text;
    gnomon_unexpected(json, name, "a decimal number as a string, or a whole number", file, line);
    return (gnomon_string){"0", 1};
}

gnomon_string gnomon_uuid_at(gnomon_json json, const char *name, const char *file, int line)
{
    static const char nil[] = "00000000-0000-0000-0000-000000000000";
    gnomon_string text;
    bool fits = gnomon_read_string(json, &text) && text.length == sizeof nil - 1;
    for (size_t i = 0; fits && i < text.length; i++) {
        char c = text.data[i];
        bool is_hexadecimal = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        fits = nil[i] == '-' ? c == '-' : is_hexadecimal;
    }
    if (fits) return text;
    gnomon_unexpected(json, name, "a UUID in its 36-character form", file, line);
    return (gnomon_string){nil, sizeof nil - 1};
}

/* ---- Times and days ---- */

/* So many digits, as a number from `least` to `most`. */
static bool number(gnomon_string *text, size_t digits, int64_t least, int64_t most, int64_t *result)
{
    if (text->length < digits || digits_from(*text, 0) < digits) return false;
    *result = 0;
    for (size_t i = 0; i < digits; i++) *result = *result * 10 + (text->data[i] - '0');
    text->data += digits;
    text->length -= digits;
    return *result >= least && *result <= most;
}

/* One of these characters, or 0. */
static char character(gnomon_string *text, const char *allowed)
{
    for (; *allowed; allowed++) {
        if (text->length && *text->data == *allowed) {
            text->data++;
            text->length--;
            return *allowed;
        }
    }
    return 0;
}

static bool day(gnomon_string *text, int64_t *days)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, of_month;
    if (!number(text, 4, 1, 9999, &year) || !character(text, "-")) return false;
    if (!number(text, 2, 1, 12, &month) || !character(text, "-")) return false;
    if (!number(text, 2, 1, 31, &of_month)) return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (of_month > lengths[month - 1] + (month == 2 && leap)) return false;
    int64_t before = year - 1;
    /* From 0001-01-01 to 1970-01-01. */
    *days = before * 365 + before / 4 - before / 100 + before / 400 + of_month - 1 - 719162;
    for (int64_t i = 1; i < month; i++) *days += lengths[i - 1] + (i == 2 && leap);
    return true;
}

static bool offset(gnomon_string *text, int64_t *minutes)
{
    int64_t hours;
    char sign = character(text, "Zz+-");
    *minutes = 0;
    if (sign == 'Z' || sign == 'z') return true;
    if (!sign || !number(text, 2, 0, 23, &hours) || !character(text, ":")) return false;
    if (!number(text, 2, 0, 59, minutes)) return false;
    *minutes = (sign == '-' ? -1 : 1) * (hours * 60 + *minutes);
    return true;
}

static bool time(gnomon_string *text, int64_t *microseconds)
{
    int64_t days, hour, minute, second, fraction = 0, minutes;
    if (!day(text, &days) || !character(text, "Tt ")) return false;
    if (!number(text, 2, 0, 23, &hour) || !character(text, ":")) return false;
    if (!number(text, 2, 0, 59, &minute) || !character(text, ":")) return false;
    if (!number(text, 2, 0, 59, &second)) return false;
    if (character(text, ".,")) {
        int64_t unit = 1000000, digit;
        if (!digits_from(*text, 0)) return false;
        /* What is finer than a microsecond is cut off. */
        while (number(text, 1, 0, 9, &digit)) fraction += digit * (unit /= 10);
    }
    if (!offset(text, &minutes)) return false;
    *microseconds = (((days * 24 + hour) * 60 + minute - minutes) * 60 + second) * 1000000 + fraction;
    return true;
}

int64_t gnomon_timestamp_at(gnomon_json json, const char *name, const char *file, int line)
{
    gnomon_string text;
    int64_t microseconds;
    if (gnomon_read_string(json, &text) && time(&text, &microseconds) && !text.length) return microseconds;
    gnomon_unexpected(json, name, "a time such as \"2025-01-15T10:30:00Z\"", file, line);
    return 0;
}

int32_t gnomon_date_at(gnomon_json json, const char *name, const char *file, int line)
{
    gnomon_string text;
    int64_t days;
    if (gnomon_read_string(json, &text) && day(&text, &days) && !text.length) return (int32_t)days;
    gnomon_unexpected(json, name, "a day such as \"2025-01-15\"", file, line);
    return 0;
}

#pragma clang attribute pop
