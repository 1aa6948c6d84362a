/* Memory, strings, formats and numbers: what a C library would bring. */
#include "gnomon_internal.h"

/* ---- Memory ---- */

extern unsigned char __heap_base;

static uintptr_t next;

void *gnomon_allocate(size_t size, size_t alignment)
{
    enum { PAGE = 65536 };
    if (!next) next = (uintptr_t)&__heap_base;
    uintptr_t begin = (next + alignment - 1) & ~(uintptr_t)(alignment - 1);
    uintptr_t end;
    if (begin < next || __builtin_add_overflow(begin, size, &end)) __builtin_trap();
    size_t pages = __builtin_wasm_memory_size(0);
    size_t needed = end / PAGE + (end % PAGE != 0);
    if (needed > pages && __builtin_wasm_memory_grow(0, needed - pages) == (size_t)-1) __builtin_trap();
    next = end;
    return (void *)begin;
}

void gnomon_release(void) { next = 0; }

void *gnomon_alloc(size_t size) { return memset(gnomon_allocate(size, 16), 0, size); }

/* The compiler calls these, and with bulk memory makes one instruction of
 * them. */
void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    return __builtin_memcpy(to, from, length);
}

void *memmove(void *to, const void *from, size_t length) { return __builtin_memmove(to, from, length); }
void *memset(void *to, int byte, size_t length) { return __builtin_memset(to, byte, length); }

int memcmp(const void *left, const void *right, size_t length)
{
    const unsigned char *a = left, *b = right;
    for (size_t i = 0; i < length; i++)
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length]) length++;
    return length;
}

/* The machine multiplies 64 bits; the compiler asks for 128 to see whether a
 * product overflows. */
__int128 __multi3(__int128 left, __int128 right);
__int128 __multi3(__int128 left, __int128 right)
{
    const uint64_t half = UINT32_MAX;
    uint64_t a = (uint64_t)left, b = (uint64_t)right;
    uint64_t low = (a & half) * (b & half);
    uint64_t cross = (a >> 32) * (b & half) + (low >> 32);
    uint64_t other = (a & half) * (b >> 32) + (cross & half);
    uint64_t high = (a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32);
    high += a * (uint64_t)(right >> 64) + (uint64_t)(left >> 64) * b;
    return (__int128)((unsigned __int128)high << 64 | other << 32 | (low & half));
}

/* ---- Strings ---- */

gnomon_string gnomon_of(const char *text) { return (gnomon_string){text, strlen(text)}; }

bool gnomon_equal(gnomon_string string, const char *other)
{
    size_t i = 0;
    for (; i < string.length; i++)
        if (!other[i] || string.data[i] != other[i]) return false;
    return !other[i];
}

/* Counts, and writes once there is memory. */
typedef struct sink {
    char *memory;
    size_t length;
} sink;

static void push(sink *sink, const char *text, size_t length)
{
    if (sink->memory) memcpy(sink->memory + sink->length, text, length);
    sink->length += length;
}

static void push_number(sink *sink, uint64_t number, unsigned base)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    push(sink, digits + first, sizeof digits - first);
}

static void format(sink *sink, const char *format, va_list arguments)
{
    for (; *format; format++) {
        if (*format != '%') {
            push(sink, format, 1);
            continue;
        }
        size_t precision = SIZE_MAX;
        int longs = 0;
        format++;
        if (format[0] == '.' && format[1] == '*') {
            precision = (size_t)va_arg(arguments, int);
            format += 2;
        }
        for (; *format == 'l'; format++) longs++;
        if (*format == 'z') format++;
        switch (*format) {
        case 's': {
            const char *text = va_arg(arguments, const char *);
            size_t length = 0;
            if (precision != SIZE_MAX) length = precision;
            else if (text) length = strlen(text);
            push(sink, text, length);
            break;
        }
        case 'c': {
            char character = (char)va_arg(arguments, int);
            push(sink, &character, 1);
            break;
        }
        case 'd': {
            int64_t number = longs > 1 ? va_arg(arguments, long long) : va_arg(arguments, long);
            if (number < 0) push(sink, "-", 1);
            push_number(sink, number < 0 ? -(uint64_t)number : (uint64_t)number, 10);
            break;
        }
        case 'u':
        case 'x': {
            uint64_t number = longs > 1 ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned long);
            push_number(sink, number, *format == 'x' ? 16 : 10);
            break;
        }
        case '%': push(sink, "%", 1); break;
        default:
            /* An argument of unknown size: nothing after it can be read. */
            push(sink, "%", 1);
            push(sink, format, strlen(format));
            return;
        }
    }
}

gnomon_string gnomon_formatted(const char *text, va_list arguments)
{
    sink sink = {0};
    va_list again;
    va_copy(again, arguments);
    format(&sink, text, again);
    va_end(again);
    sink.memory = gnomon_allocate(sink.length, 1);
    sink.length = 0;
    format(&sink, text, arguments);
    return (gnomon_string){sink.memory, sink.length};
}

gnomon_string gnomon_format(const char *text, ...)
{
    va_list arguments;
    va_start(arguments, text);
    gnomon_string string = gnomon_formatted(text, arguments);
    va_end(arguments);
    return string;
}

bool gnomon_parse_integer(gnomon_string text, int64_t *number)
{
    size_t i = text.length && text.data[0] == '-';
    bool negative = i;
    int64_t sum = 0;
    if (i == text.length) return false;
    for (; i < text.length; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9) return false;
        if (__builtin_mul_overflow(sum, 10, &sum)) return false;
        if (__builtin_sub_overflow(sum, digit, &sum)) return false;
    }
    /* Summed up below zero, where there is one number more. */
    if (!negative && sum == INT64_MIN) return false;
    *number = negative ? sum : -sum;
    return true;
}

#pragma clang attribute pop
