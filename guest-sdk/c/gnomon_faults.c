/* Undefined behaviour, as clang's sanitizer reports it: the event is rejected,
 * with file and line. What follows runs in memory that the batch loses. */
#include "gnomon_internal.h"

/* All reports begin with it. */
typedef struct place {
    const char *file;
    uint32_t line;
    uint32_t column;
} place;

#define ARGUMENT __attribute__((unused)) uintptr_t

#define HANDLER(name, message, ...)                                       \
    void __ubsan_handle_##name(const place *place, ##__VA_ARGS__);        \
    void __ubsan_handle_##name(const place *place, ##__VA_ARGS__)         \
    {                                                                     \
        gnomon_reject_here(place->file, (int)place->line, "%s", message); \
    }

/* The machine itself stops after these, so the log is all that can tell. */
#define LAST_WORDS(name, message, ...)                                                     \
    void __ubsan_handle_##name(const place *place, ##__VA_ARGS__);                         \
    void __ubsan_handle_##name(const place *place, ##__VA_ARGS__)                          \
    {                                                                                      \
        gnomon_log(GNOMON_ERROR, "%s (at %s:%d)", message, place->file, (int)place->line); \
        __builtin_trap();                                                                  \
    }

HANDLER(type_mismatch_v1, pointer ? "a pointer to something else is used" : "a null pointer is used", ARGUMENT pointer)
HANDLER(pointer_overflow, base ? "pointer arithmetic leaves the memory" : "a null pointer is used", ARGUMENT base,
        ARGUMENT result)
HANDLER(out_of_bounds, "an index is out of bounds", ARGUMENT index)
HANDLER(add_overflow, "a sum overflows", ARGUMENT left, ARGUMENT right)
HANDLER(sub_overflow, "a difference overflows", ARGUMENT left, ARGUMENT right)
HANDLER(mul_overflow, "a product overflows", ARGUMENT left, ARGUMENT right)
HANDLER(negate_overflow, "a negation overflows", ARGUMENT value)
HANDLER(shift_out_of_bounds, "a shift is out of bounds", ARGUMENT left, ARGUMENT right)
HANDLER(load_invalid_value, "a value is none of its type", ARGUMENT value)
HANDLER(vla_bound_not_positive, "an array has no elements", ARGUMENT bound)
HANDLER(invalid_builtin, "a builtin does not take this argument")
HANDLER(nonnull_arg, "an argument is null")
LAST_WORDS(divrem_overflow, "a division by zero, or an overflow", ARGUMENT left, ARGUMENT right)
LAST_WORDS(builtin_unreachable, "unreachable code is reached")
LAST_WORDS(missing_return, "a function ends without the value that it should return")

#pragma clang attribute pop
