/*
 * A filter that passes everything, in C. Built with -DONLY="TYPE" it wants messages of this type alone.
 */
#include "telex_plugin.h"

#include <string.h>

static void *create(const telex_host *host, telex_str config) {
    static int instance;
    (void)host, (void)config;
    return &instance;
}

static void destroy(void *instance) {
    (void)instance;
}

static int32_t judge(void *instance, const telex_message *message, const telex_call *call) {
    (void)instance, (void)message, (void)call;
    return TELEX_PASS;
}

#ifdef ONLY
static const telex_interest *interests(void *instance, size_t *count) {
    static const telex_interest only = {{ONLY, sizeof ONLY - 1}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    (void)instance;
    *count = 1;
    return &only;
}
#else
#define interests NULL
#endif

static const void *extension(void *instance, const char *id) {
    static const telex_filter filter = {judge, interests};
    (void)instance;
    return strcmp(id, TELEX_FILTER) == 0 ? &filter : NULL;
}

TELEX_EXPORT const telex_descriptor telex_plugin = {
    TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor), TELEX_MINOR, "passes", "1", create, destroy, extension};
