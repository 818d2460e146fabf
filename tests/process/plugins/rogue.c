/* Plugins that misbehave on purpose, one for each value of ROGUE, and one that is as it should be (GOOD). */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <pthread.h>

#include "telex_plugin.h"

#define GOOD 0
#define NO_SYMBOL 1
#define WRONG_MAGIC 2
#define OTHER_VERSION 3
#define TOO_SHORT 4
#define NO_NAME 5
#define NO_CREATE 6
#define NO_EXTENSIONS 7
#define EMPTY_FILTER 8
#define MANY_INTERESTS 9
#define FAILS_TO_CREATE 10
#define FAILS_SILENTLY 11
#define JUNK_VERDICT 12
#define FAULTS 13
#define SLEEPS 14
#define EMITS_FOR_EVER 15
#define KEEPS_A_POINTER 16
#define BREAKS_JSON 17
#define ADDS_A_FIELD 18
#define CHANGES_CATEGORY 19
#define CHANGES_A_REPLY 20
#define REFUSES_CONNECTIONS 21
#define JUNK_EVENTS 22
#define UNDEFINED_IMPORT 23
#define EMITS_AT_THE_END 24
/* It says all that it hears; it does nothing bad. */
#define TELLS_ALL 25
#define EMITS_MUCH 31
#define LENGTHENS 32
#define NULL_SYMBOL 26
/* They leave a file of this name where the daemon runs, and never come back. */
#define HANGS_IN_CREATE 27
#define HANGS_IN_DESTROY 28
/* A thread of it speaks as soon as there is the file `speak`. */
#define SPEAKS_ON_A_THREAD 29
/* As TELLS_ALL, but it is slow to be made: it waits for the file `go_on`. */
#define IS_MADE_SLOWLY 30
/* A thread of it makes one file after the other, `made/0` and so on, until there is the file `enough`. They are in
 * a folder of their own: who makes a file keeps others from making one in the same folder. */
#define MAKES_FILES 33
/* It was built before TELEX_MINOR 1. */
#define OLD 34

#define STR(s) ((telex_str){(s), sizeof(s) - 1})

#ifndef VERSION
#define VERSION "1"
#endif

static const telex_host *host;
static const telex_call *kept;
static int state;

#if ROGUE == UNDEFINED_IMPORT
extern void nobody_has_this(void);
#endif

/* Waits until the test has made a file of this name. */
static void wait_for(const char *name) {
    while (access(name, F_OK) != 0)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void hang(const char *name) {
    FILE *file = fopen(name, "w");
    if (file)
        fclose(file);
    for (;;)
        pause();
}

static void *speak(void *unused) {
    (void)unused;
    wait_for("speak");
    host->log(host, TELEX_WARNING, STR("a word at night"));
    return NULL;
}

static void *make_files(void *unused) {
    char name[20];
    int n, file;
    (void)unused;
    mkdir("made", 0777);
    for (n = 0; n < 20000 && access("enough", F_OK) != 0; n++) {
        snprintf(name, sizeof name, "made/%d", n);
        file = open(name, O_CREAT | O_EXCL | O_WRONLY, 0666);
        if (file >= 0)
            close(file);
    }
    return NULL;
}

static void *create(const telex_host *the_host, telex_str config) {
    (void)config;
    host = the_host;
#if ROGUE == FAILS_TO_CREATE
    host->log(host, TELEX_WARNING, STR("tried"));
    host->fail(host, STR("it has no mind to"));
    return NULL;
#elif ROGUE == FAILS_SILENTLY
    return NULL;
#elif ROGUE == UNDEFINED_IMPORT
    nobody_has_this();
#elif ROGUE == HANGS_IN_CREATE
    hang("hangs");
#elif ROGUE == SPEAKS_ON_A_THREAD || ROGUE == MAKES_FILES
    pthread_t thread;
    if (pthread_create(&thread, NULL, ROGUE == MAKES_FILES ? make_files : speak, NULL) != 0)
        return NULL;
    pthread_detach(thread);
#if ROGUE == MAKES_FILES
    wait_for("made/10");
#endif
#elif ROGUE == IS_MADE_SLOWLY
    host->log(host, TELEX_WARNING, STR("being made"));
    wait_for("go_on");
#elif ROGUE == TELLS_ALL
    host->log(host, TELEX_WARNING, host->checking ? STR("made for a check") : STR("made"));
    if (host->set_timer(host, 20) != TELEX_OK)
        return NULL;
#endif
    return &state;
}

static void destroy(void *instance) {
    (void)instance;
#if ROGUE == HANGS_IN_DESTROY
    hang("hangs");
#endif
#if ROGUE == KEEPS_A_POINTER
    if (kept && kept->emit(kept, STR("b"), (telex_str){NULL, 0}, STR("{}")) == TELEX_NOT_NOW)
        host->log(host, TELEX_NOTICE, STR("too late"));
#endif
#if ROGUE == TELLS_ALL
    host->log(host, TELEX_WARNING, STR("ended"));
#else
    host->log(host, TELEX_NOTICE, STR("destroyed " VERSION));
#endif
}

static int32_t judge(void *instance, const telex_message *message, const telex_call *call) {
    (void)instance;
    kept = call;
    if (message->message_type.len == 6 && memcmp(message->message_type.data, "signal", 6) == 0)
        return TELEX_PASS;
#if ROGUE == JUNK_VERDICT
    return 4711;
#elif ROGUE == FAULTS
    return TELEX_FAULT;
#elif ROGUE == SLEEPS
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    return TELEX_PASS;
#elif ROGUE == EMITS_FOR_EVER
    int count = 0;
    while (call->emit(call, STR("b"), (telex_str){NULL, 0}, STR("{\"from\":\"the plugin\"}")) == TELEX_OK)
        count++;
    return count == 16 ? TELEX_PASS : TELEX_FAULT;
#elif ROGUE == EMITS_MUCH
    static char body[20000];
    memset(body, ' ', sizeof body);
    body[0] = '{';
    body[sizeof body - 1] = '}';
    while (call->emit(call, STR("nobody"), (telex_str){NULL, 0}, (telex_str){body, sizeof body}) == TELEX_OK)
        ;
    return TELEX_PASS;
#elif ROGUE == LENGTHENS
    static char to[200];
    memset(to, 'x', sizeof to);
    call->replace(call, TELEX_FIELD_TO, (telex_str){to, sizeof to});
    return TELEX_REPLACE;
#elif ROGUE == KEEPS_A_POINTER || ROGUE == TELLS_ALL
    return TELEX_PASS;
#elif ROGUE == BREAKS_JSON
    call->replace(call, TELEX_FIELD_BODY, STR("{\"a\":"));
    return TELEX_REPLACE;
#elif ROGUE == ADDS_A_FIELD
    call->replace(call, TELEX_FIELD_BODY, STR("1,\"from\":\"root\""));
    return TELEX_REPLACE;
#elif ROGUE == CHANGES_CATEGORY
    call->replace(call, TELEX_FIELD_TYPE, STR("signal"));
    return TELEX_REPLACE;
#elif ROGUE == CHANGES_A_REPLY
    if (message->kind == TELEX_REPLY) {
        if (call->replace(call, TELEX_FIELD_TO, STR("b")) != TELEX_BAD_VALUE)
            return TELEX_FAULT;
        call->reason(call, STR("of a reply only the body can be replaced"));
        return TELEX_REJECT;
    }
    return TELEX_PASS;
#else
    call->reason(call, STR("version " VERSION));
    return message->to.data ? TELEX_REJECT : TELEX_PASS;
#endif
}

static const telex_interest *interests(void *instance, size_t *count) {
    static const telex_interest all;
    (void)instance;
#if ROGUE == MANY_INTERESTS
    *count = (size_t)-1;
#else
    *count = 1;
#endif
    return &all;
}

static int32_t event(void *instance, const telex_event *happened, const telex_call *call) {
    (void)instance;
#if ROGUE == REFUSES_CONNECTIONS
    if (happened->kind == TELEX_CONNECTED) {
        call->reason(call, STR("nobody is welcome"));
        return TELEX_REJECT;
    }
#elif ROGUE == JUNK_EVENTS
    if (happened->kind == TELEX_REGISTERED)
        return 99;
#elif ROGUE == EMITS_AT_THE_END
    if (happened->kind == TELEX_STOPPING)
        return call->emit(call, STR("a"), (telex_str){NULL, 0}, STR("{\"last\":\"words\"}"));
#elif ROGUE == TELLS_ALL
    static const char *const kinds[] = {
        "", "connected", "registered", "unregistered", "subscribed", "unsubscribed",
        "disconnected", "started", "stopping", "reloaded", "timer"};
    const telex_str *const texts[] = {
        &happened->node_id, &happened->topic, &happened->group, &happened->reason};
    char text[1000];
    size_t i, len;
    len = (size_t)snprintf(text, sizeof text, "heard %s%s", happened->replayed ? "of old " : "",
                           kinds[happened->kind]);
    if (happened->peer)
        len += (size_t)snprintf(text + len, sizeof text - len, " :%d", (int)happened->peer->connection);
    for (i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i]->data)
            len += (size_t)snprintf(text + len, sizeof text - len, " %.*s", (int)texts[i]->len, texts[i]->data);
    host->log(host, TELEX_NOTICE, (telex_str){text, len});
    if (happened->kind == TELEX_TIMER)
        host->set_timer(host, 0);
#endif
    (void)happened;
    (void)call;
    return TELEX_OK;
}

static uint64_t wants(void *instance) {
    (void)instance;
    return ~UINT64_C(0);
}

static const void *extension(void *instance, const char *id) {
#if ROGUE == EMPTY_FILTER
    static const telex_filter filter = {NULL, NULL};
#else
    static const telex_filter filter = {judge, interests};
#endif
    static const telex_events events = {event, wants};
    (void)instance;
#if ROGUE == NO_EXTENSIONS
    return NULL;
#endif
    if (strcmp(id, TELEX_FILTER) == 0)
        return &filter;
#if ROGUE == REFUSES_CONNECTIONS || ROGUE == JUNK_EVENTS || ROGUE == EMITS_AT_THE_END || ROGUE == TELLS_ALL
    if (strcmp(id, TELEX_EVENTS) == 0)
        return &events;
#else
    (void)events;
#endif
    return NULL;
}

#if ROGUE == NULL_SYMBOL
__asm__(".globl telex_plugin\n.set telex_plugin, 0\n");
const telex_descriptor another_name = {
#elif ROGUE == NO_SYMBOL
const telex_descriptor another_name = {
#else
TELEX_EXPORT const telex_descriptor telex_plugin = {
#endif
#if ROGUE == WRONG_MAGIC
    0x12345678u,
#else
    TELEX_MAGIC,
#endif
#if ROGUE == OTHER_VERSION
    TELEX_ABI + 1,
#else
    TELEX_ABI,
#endif
#if ROGUE == TOO_SHORT
    24,
#else
    sizeof(telex_descriptor),
#endif
#if ROGUE == OLD
    0,
#else
    TELEX_MINOR,
#endif
#if ROGUE == NO_NAME
    NULL,
#else
    "rogue",
#endif
    VERSION,
#if ROGUE == NO_CREATE
    NULL,
#else
    create,
#endif
    destroy, extension};
