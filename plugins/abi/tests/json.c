/* telex_json.h, by itself. Told a pointer and a text (separated by a TAB) on each line of stdin, it also says what it
 * finds there. Everything is read from memory that ends where the text does, so that a byte too many is found. */
#include <stdlib.h>

#include "telex_json.h"

static char failed[500];

static void fail(const telex_host *host, telex_str reason) {
    (void)host;
    snprintf(failed, sizeof failed, "%.*s", (int)reason.len, reason.data);
}

#define CHECK(what) \
    do { \
        if (!(what)) { \
            printf("%d: %s (%s)\n", __LINE__, #what, failed); \
            exit(1); \
        } \
    } while (0)

static telex_str text(const char *words) {
    telex_str it = {words, strlen(words)};
    return it;
}

static void reads_a_configuration(void) {
    static const char *const known[] = {"name", "most", "strict", "rooms", "a/b", NULL};
    telex_host host;
    telex_str config = TELEX_STR("{\"name\":\"k\\u00e9\\ud83d\\ude00\\n\",\"most\":-7 , \"strict\" : true,"
                                 "\"rooms\":[\"a\", \"\\\"b\\\"\",\"\"],\"deep\":{\"x\":[0,{\"y\":1}]}}");
    telex_str name = TELEX_STR("default"), rooms[3], none = {NULL, 0};
    char buffer[16], small[4];
    int64_t most = 3;
    size_t count = 9;
    int strict = 0;
    memset(&host, 0, sizeof host);
    host.fail = fail;

    CHECK(telex_config_text(&host, config, "/nothing", buffer, sizeof buffer, &name));
    CHECK(telex_str_eq(name, TELEX_STR("default")));
    CHECK(telex_config_text(&host, config, "/name", buffer, sizeof buffer, &name));
    CHECK(telex_str_eq(name, TELEX_STR("k\303\251\360\237\230\200\n")) && strlen(buffer) == name.len);
    CHECK(!telex_config_text(&host, config, "/name", small, sizeof small, &name));
    CHECK(!strcmp(failed, "name: \"k\\u00e9\\ud83d\\ude00\\n\" is not right; it takes a string of at most 3 bytes"));
    CHECK(!telex_config_text(&host, config, "/most", buffer, sizeof buffer, &name));
    CHECK(!strcmp(failed, "most: -7 is not right; it takes a string of at most 15 bytes"));

    CHECK(telex_config_integer(&host, config, "/nothing", 0, 1, &most) && most == 3);
    CHECK(telex_config_integer(&host, config, "/most", -7, 1, &most) && most == -7);
    CHECK(telex_config_integer(&host, config, "/deep/x/1/y", 0, 1, &most) && most == 1);
    CHECK(!telex_config_integer(&host, config, "/most", -6, 1, &most) && most == 1);
    CHECK(!strcmp(failed, "most: -7 is not right; it takes an integer from -6 to 1"));

    CHECK(telex_config_bool(&host, config, "/strict", &strict) && strict == 1);
    CHECK(!telex_config_bool(&host, config, "/rooms", &strict) && strict == 1);
    CHECK(!strcmp(failed, "rooms: [\"a\", \"\\\"b\\\"\",\"\"] is not right; it takes true or false"));

    CHECK(telex_config_texts(&host, config, "/nothing", buffer, sizeof buffer, rooms, 3, &count) && count == 9);
    CHECK(telex_config_texts(&host, config, "/rooms", buffer, 7, rooms, 3, &count) && count == 3);
    CHECK(telex_str_eq(rooms[0], TELEX_STR("a")) && telex_str_eq(rooms[1], TELEX_STR("\"b\"")));
    CHECK(telex_str_eq(rooms[2], TELEX_STR("")));
    CHECK(!telex_config_texts(&host, config, "/rooms", buffer, 6, rooms, 3, &count));
    CHECK(!telex_config_texts(&host, config, "/rooms", buffer, sizeof buffer, rooms, 2, &count));
    CHECK(strstr(failed, "it takes a list of up to 2 strings, of at most 16 bytes with one more for each"));
    CHECK(!telex_config_texts(&host, config, "/deep/x", buffer, sizeof buffer, rooms, 3, &count));
    CHECK(!telex_config_texts(&host, config, "/name", buffer, sizeof buffer, rooms, 3, &count));

    CHECK(!telex_config_known(&host, config, known));
    CHECK(!strcmp(failed, "there is no option \"deep\"; there are name, most, strict, rooms, a/b"));
    CHECK(telex_config_known(&host, TELEX_STR("{\"n\\u0061me\":1,\"strict\":2}"), known));
    CHECK(telex_config_known(&host, TELEX_STR("{}"), known) && telex_config_known(&host, none, known));
    CHECK(telex_config_known(&host, TELEX_STR("[1]"), known));
    CHECK(!telex_config_known(&host, TELEX_STR("{\"x\":1}"), known + 5));
    CHECK(!strcmp(failed, "there is no option \"x\"; there are none"));
    CHECK(!telex_config_integer(&host, config, "most", -7, 1, &most) && most == 1);
    CHECK(!strcmp(failed, "most: most is not right; it takes a JSON Pointer, such as /most"));
    CHECK(telex_config_bool(&host, none, "/strict", &strict));
}

static void reads_integers(void) {
    static const struct {
        const char *json;
        int32_t result;
        int64_t number;
    } cases[] = {{"0", TELEX_OK, 0}, {"-0", TELEX_OK, 0}, {"9223372036854775807", TELEX_OK, INT64_MAX},
                 {"-9223372036854775808", TELEX_OK, INT64_MIN}, {"9223372036854775808", TELEX_TOO_MANY, 0},
                 {"-9223372036854775809", TELEX_TOO_MANY, 0}, {"99999999999999999999", TELEX_TOO_MANY, 0},
                 {"1.0", TELEX_BAD_VALUE, 0}, {"1e3", TELEX_BAD_VALUE, 0}, {"01", TELEX_BAD_VALUE, 0},
                 {"-", TELEX_BAD_VALUE, 0}, {"", TELEX_BAD_VALUE, 0}, {"\"1\"", TELEX_BAD_VALUE, 0}};
    size_t n;
    telex_str none = {NULL, 0};
    int64_t number = 0;
    for (n = 0; n < sizeof cases / sizeof *cases; n++) {
        number = 0;
        CHECK(telex_json_integer(text(cases[n].json), &number) == cases[n].result);
        CHECK(number == cases[n].number);
    }
    CHECK(telex_json_integer(none, &number) == TELEX_BAD_VALUE);
}

static void texts_are_alike_or_not(void) {
    telex_str none = {NULL, 0};
    CHECK(telex_str_eq(TELEX_STR("a"), TELEX_STR("a")) && !telex_str_eq(TELEX_STR("a"), TELEX_STR("b")));
    CHECK(!telex_str_eq(TELEX_STR("a"), TELEX_STR("ab")) && telex_str_eq(TELEX_STR(""), TELEX_STR("")));
    CHECK(telex_str_eq(none, none) && !telex_str_eq(none, TELEX_STR("")) && !telex_str_eq(TELEX_STR(""), none));
}

/* A copy that ends where the memory does. */
static telex_str copy(const char *from, size_t len) {
    char *data = (char *)malloc(len ? len : 1);
    telex_str it = {data, len};
    if (!data) exit(2);
    memcpy(data, from, len);
    return it;
}

static void answer(char *line) {
    char *tab = strchr(line, '\t');
    telex_str pointer = copy(line, (size_t)(tab - line)), json = copy(tab + 1, strlen(tab + 1)), found, decoded;
    char *buffer;
    size_t at;
    int32_t result = telex_json_find(json, pointer, &found);
    if (result != TELEX_OK) {
        printf("%d\n", (int)result);
    } else {
        printf("%.*s", (int)found.len, found.data);
        buffer = (char *)malloc(found.len);
        if (!buffer) exit(2);
        if (telex_json_text(found, buffer, found.len, &decoded) == TELEX_OK)
            for (printf("\t"), at = 0; at < decoded.len; at++) printf("%02x", (unsigned char)decoded.data[at]);
        printf("\n");
        free(buffer);
    }
    free((void *)(size_t)pointer.data);
    free((void *)(size_t)json.data);
}

int main(void) {
    static char line[10000];
    reads_a_configuration();
    reads_integers();
    texts_are_alike_or_not();
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        answer(line);
    }
    return 0;
}
