/* What the parts of the SDK know of each other. */
#ifndef GNOMON_INTERNAL_H
#define GNOMON_INTERNAL_H

#include "gnomon.h"

#include <stdarg.h>

/* The SDK itself is not instrumented; its checks are in the code. */
#pragma clang attribute push(__attribute__((no_sanitize("undefined"))), apply_to = function)

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
int memcmp(const void *left, const void *right, size_t length);
size_t strlen(const char *text);

/* Memory for strings and lists; not zeroed. */
void *gnomon_allocate(size_t size, size_t alignment);
/* Everything allocated so far is free again. */
void gnomon_release(void);

gnomon_string gnomon_of(const char *text);
gnomon_string gnomon_formatted(const char *format, va_list arguments);

/* Rejects the event that is being applied, where no handler passed one. */
void gnomon_reject_here(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Rejects the event for a value that is something else, or not there. */
void gnomon_unexpected(gnomon_json json, const char *name, const char *expected, const char *file, int line);
/* The text of a JSON string; fails for anything else. */
bool gnomon_read_string(gnomon_json json, gnomon_string *string);

#endif
