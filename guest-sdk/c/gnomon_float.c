/* From a decimal number to the nearest double, ties to even: the number is
 * kept in decimal digits and halved or doubled until its binary exponent is
 * known. Slow beside the tables of a C library, but small and exact. */
#include "gnomon_internal.h"

enum {
    /* More digits than it takes to tell a double from the middle of two. */
    DIGITS_MAX = 800,
    SHIFT_MAX = 27,
    /* A shift makes so many digits more, at most. */
    SPARE = 10,
    MANTISSA_BITS = 52,
    EXPONENT_MIN = -1022,
    EXPONENT_MAX = 1023,
};

/* 0.d₀d₁d₂… · 10^point */
typedef struct decimal {
    int count;
    int point;
    bool truncated;
    uint8_t digits[DIGITS_MAX + SPARE];
} decimal;

static void trim(decimal *number)
{
    while (number->count > 0 && number->digits[number->count - 1] == 0) number->count--;
    if (number->count == 0) number->point = 0;
}

static void halve(decimal *number, int times)
{
    uint64_t rest = 0, mask = ((uint64_t)1 << times) - 1;
    int read = 0, written = 0;
    while (rest >> times == 0) {
        if (read >= number->count && rest == 0) {
            number->count = 0;
            return;
        }
        rest = rest * 10 + (read < number->count ? number->digits[read] : 0);
        read++;
    }
    number->point -= read - 1;
    for (; read < number->count; read++) {
        uint8_t digit = number->digits[read];
        number->digits[written++] = (uint8_t)(rest >> times);
        rest = (rest & mask) * 10 + digit;
    }
    while (rest) {
        uint8_t digit = (uint8_t)(rest >> times);
        rest = (rest & mask) * 10;
        if (written < DIGITS_MAX) number->digits[written++] = digit;
        else if (digit) number->truncated = true;
    }
    number->count = written;
    trim(number);
}

static void twice(decimal *number, int times)
{
    uint8_t digits[DIGITS_MAX + SPARE];
    int first = SPARE;
    uint64_t carry = 0;
    for (int i = number->count - 1; i >= 0; i--) {
        carry += (uint64_t)number->digits[i] << times;
        digits[i + SPARE] = (uint8_t)(carry % 10);
        carry /= 10;
    }
    for (; carry; carry /= 10) digits[--first] = (uint8_t)(carry % 10);
    int count = number->count + SPARE - first;
    for (int i = DIGITS_MAX; i < count; i++)
        if (digits[first + i]) number->truncated = true;
    number->point += SPARE - first;
    number->count = count < DIGITS_MAX ? count : DIGITS_MAX;
    memcpy(number->digits, digits + first, (size_t)number->count);
    trim(number);
}

static void shift(decimal *number, int bits)
{
    for (; bits > SHIFT_MAX; bits -= SHIFT_MAX) twice(number, SHIFT_MAX);
    for (; bits < -SHIFT_MAX; bits += SHIFT_MAX) halve(number, SHIFT_MAX);
    if (bits > 0) twice(number, bits);
    if (bits < 0) halve(number, -bits);
}

static uint64_t rounded(const decimal *number)
{
    uint64_t whole = 0;
    int i = 0;
    for (; i < number->point; i++) whole = whole * 10 + (i < number->count ? number->digits[i] : 0);
    if (number->point < 0 || i >= number->count) return whole;
    bool is_half = number->digits[i] == 5 && i + 1 == number->count && !number->truncated;
    return whole + (is_half ? whole & 1 : number->digits[i] >= 5);
}

/* Fails where it is too large. */
static bool nearest(decimal *number, double *result)
{
    /* How many bits 10^n has, about. */
    static const uint8_t bits_of[] = {1, 3, 6, 9, 13, 16, 19, 23, 26};
    uint64_t bits = 0;
    if (number->count > 0 && number->point > 310) return false;
    if (number->count > 0 && number->point >= -330) {
        int exponent = 0;
        while (number->point > 0) {
            int times = number->point > 8 ? SHIFT_MAX : bits_of[number->point];
            shift(number, -times);
            exponent += times;
        }
        while (number->point < 0 || (number->point == 0 && number->digits[0] < 5)) {
            int times = -number->point > 8 ? SHIFT_MAX : bits_of[-number->point];
            shift(number, times);
            exponent -= times;
        }
        /* From [0.5, 1) to [1, 2). */
        exponent--;
        if (exponent < EXPONENT_MIN) {
            shift(number, exponent - EXPONENT_MIN);
            exponent = EXPONENT_MIN;
        }
        shift(number, MANTISSA_BITS + 1);
        uint64_t mantissa = rounded(number);
        if (mantissa == (uint64_t)2 << MANTISSA_BITS) {
            mantissa >>= 1;
            exponent++;
        }
        if (exponent > EXPONENT_MAX) return false;
        bool is_normal = mantissa >> MANTISSA_BITS;
        bits = mantissa & (((uint64_t)1 << MANTISSA_BITS) - 1);
        if (is_normal) bits |= (uint64_t)(exponent + EXPONENT_MAX) << MANTISSA_BITS;
    }
    memcpy(result, &bits, sizeof bits);
    return true;
}

static bool is_digit(gnomon_string text, size_t i)
{
    return i < text.length && text.data[i] >= '0' && text.data[i] <= '9';
}

static void add_digit(decimal *number, uint8_t digit, bool is_fraction)
{
    bool is_leading_zero = number->count == 0 && digit == 0;
    if (is_leading_zero) {
        number->point -= is_fraction;
        return;
    }
    if (number->count < DIGITS_MAX) number->digits[number->count++] = digit;
    else if (digit) number->truncated = true;
    number->point += !is_fraction;
}

bool gnomon_parse_float(gnomon_string text, double *number)
{
    decimal decimal = {0};
    size_t i = text.length && text.data[0] == '-';
    bool negative = i;
    if (!is_digit(text, i)) return false;
    for (; is_digit(text, i); i++) add_digit(&decimal, (uint8_t)(text.data[i] - '0'), false);
    if (i < text.length && text.data[i] == '.') {
        if (!is_digit(text, ++i)) return false;
        for (; is_digit(text, i); i++) add_digit(&decimal, (uint8_t)(text.data[i] - '0'), true);
    }
    if (i < text.length && (text.data[i] == 'e' || text.data[i] == 'E')) {
        int exponent = 0, sign = 1;
        i++;
        if (i < text.length && (text.data[i] == '-' || text.data[i] == '+')) sign = text.data[i++] == '-' ? -1 : 1;
        if (!is_digit(text, i)) return false;
        for (; is_digit(text, i); i++)
            if (exponent < 100000) exponent = exponent * 10 + (text.data[i] - '0');
        decimal.point += sign * exponent;
    }
    double size;
    trim(&decimal);
    if (i != text.length || !nearest(&decimal, &size)) return false;
    *number = negative ? -size : size;
    return true;
}

#pragma clang attribute pop
