/* A load generator that checks what it gets: one thread, epoll, one request at a time on each kept connection.

   usage: load PORT REQUEST_FILE CONNECTIONS SECONDS MOST_REQUESTS

   Sends the bytes of REQUEST_FILE (a whole HTTP/1.1 request) to 127.0.0.1:PORT over and over, until SECONDS have passed
   or MOST_REQUESTS were sent (0: no such end); what is in flight may then end within 60 s. Where the file has ########,
   each request has its number there, so that no two are alike. An answer counts only when
   its status is 200 and it is whole: as long as content-length says, or up to the last chunk; a stream of events must
   end with [DONE] as well. Everything else is an error and counts nowhere else.

   Prints one JSON object: count (good answers), seconds (wall clock, from the first byte sent to the last answer),
   cpu_seconds (its own), errors, events (`data: {`), tokens (sum of "completion_tokens"), and percentiles in microseconds
   of the whole answer and of its first body byte. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_EVENTS = 512, LARGEST_HEAD = 16384, DRAIN_SECONDS = 60 };
typedef enum { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, WHOLE, BROKEN } State;

typedef struct {
    int fd;
    bool busy, armed, stream, close;
    State state;
    int status;
    size_t sent, left, head_size, line_size;
    char head[LARGEST_HEAD + 1], line[64], tail[14];
    long began, first; /* microseconds */
    size_t event_match, token_match;
    bool counting;
    long events, tokens, number;
    char *own; /* the request with its number, if it has one */
} Connection;

typedef struct {
    unsigned *values;
    size_t size, room;
} Times;

static const char event_mark[] = "data: {", token_mark[] = "\"completion_tokens\":", done[] = "data: [DONE]\n\n";
static const char number_mark[] = "########";
static int poller, port;
static char *request;
static size_t request_size, number_at;
static long deadline, most, issued, in_flight, good, events_seen, tokens_seen;
static long bad_status, incomplete, unconnected, unfinished;
static Times whole_times, first_times;

static long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000L + at.tv_nsec / 1000;
}

static void keep(Times *times, long value) {
    if (times->size == times->room) {
        times->room = times->room ? times->room * 2 : 65536;
        times->values = realloc(times->values, times->room * sizeof *times->values);
    }
    times->values[times->size++] = (unsigned)value;
}

static bool more_wanted(void) { return (!most || issued < most) && now() < deadline; }

static bool dial(Connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address)) {
        unconnected++;
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
        return false;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
    c->armed = false;
    return true;
}

static bool push(Connection *c) {
    while (c->sent < request_size) {
        ssize_t sent = send(c->fd, (c->own ? c->own : request) + c->sent, request_size - c->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0) return false;
        c->sent += (size_t)sent;
    }
    bool wanted = c->sent < request_size;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    if (wanted != c->armed) epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    c->armed = wanted;
    return true;
}

static void put_number(Connection *c) {
    char digits[sizeof number_mark];
    if (!c->own) {
        c->own = malloc(request_size);
        memcpy(c->own, request, request_size);
    }
    snprintf(digits, sizeof digits, "%08ld", issued % 100000000);
    memcpy(c->own + number_at, digits, sizeof digits - 1);
}

static void ask(Connection *c) {
    c->state = HEAD;
    c->busy = true;
    c->stream = c->close = c->counting = false;
    c->sent = c->left = c->head_size = c->line_size = c->event_match = c->token_match = 0;
    c->first = c->events = c->tokens = 0;
    memset(c->tail, 0, sizeof c->tail);
    issued++;
    in_flight++;
    if (number_at) put_number(c);
    c->began = now();
    if (!push(c)) c->state = BROKEN;
}

/* One byte further in a mark whose first byte comes again only as its own beginning. */
static bool matched(const char *mark, size_t size, size_t *at, char byte) {
    if (byte == mark[*at]) ++*at;
    else *at = byte == mark[0];
    if (*at < size) return false;
    *at = 0;
    return true;
}

static void look(Connection *c, const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (c->counting) {
            if (data[i] >= '0' && data[i] <= '9') c->number = c->number * 10 + data[i] - '0';
            else if (data[i] != ' ') c->tokens += c->number, c->counting = false;
        }
        if (matched(event_mark, sizeof event_mark - 1, &c->event_match, data[i])) c->events++;
        if (matched(token_mark, sizeof token_mark - 1, &c->token_match, data[i])) c->counting = true, c->number = 0;
    }
}

static void body(Connection *c, const char *data, size_t size) {
    if (!c->first) c->first = now();
    size_t kept = size < sizeof c->tail ? sizeof c->tail - size : 0;
    memmove(c->tail, c->tail + sizeof c->tail - kept, kept);
    memcpy(c->tail + kept, data + size - (sizeof c->tail - kept), sizeof c->tail - kept);
    look(c, data, size);
}

static State read_head(Connection *c) {
    if (sscanf(c->head, "HTTP/1.1 %d", &c->status) != 1) return BROKEN;
    c->stream = strcasestr(c->head, "\ncontent-type: text/event-stream") != NULL;
    c->close = strcasestr(c->head, "\nconnection: close") != NULL;
    const char *length = strcasestr(c->head, "\ncontent-length:");
    if (strcasestr(c->head, "\ntransfer-encoding: chunked")) return CHUNK_SIZE;
    if (!length) return BROKEN;
    c->left = strtoul(length + 16, NULL, 10);
    return c->left ? LENGTH : WHOLE;
}

static size_t take_head(Connection *c, const char *data, size_t size) {
    size_t before = c->head_size, room = LARGEST_HEAD - before, taken = size < room ? size : room;
    memcpy(c->head + before, data, taken);
    c->head_size += taken;
    c->head[c->head_size] = 0;
    char *found = memmem(c->head, c->head_size, "\r\n\r\n", 4);
    if (!found) {
        if (c->head_size == LARGEST_HEAD) c->state = BROKEN;
        return taken;
    }
    found[2] = 0;
    size_t end = (size_t)(found - c->head) + 4;
    c->state = read_head(c);
    return end - before;
}

static size_t take_line(Connection *c, const char *data) {
    if (*data != '\n') {
        if (c->line_size == sizeof c->line - 1) c->state = BROKEN;
        else c->line[c->line_size++] = *data;
        return 1;
    }
    c->line[c->line_size] = 0;
    c->line_size = 0;
    if (c->state == CHUNK_SIZE) {
        c->left = strtoul(c->line, NULL, 16);
        c->state = c->left ? CHUNK_DATA : CHUNK_END;
    } else {
        c->state = c->left ? CHUNK_SIZE : WHOLE; /* the empty line behind a chunk, or behind the last one */
    }
    return 1;
}

static size_t take_body(Connection *c, const char *data, size_t size) {
    size_t taken = size < c->left ? size : c->left;
    body(c, data, taken);
    c->left -= taken;
    if (!c->left) {
        if (c->state == LENGTH) c->state = WHOLE;
        else c->state = CHUNK_END, c->left = 1; /* 1: not the last chunk */
    }
    return taken;
}

static void feed(Connection *c, const char *data, size_t size) {
    while (size && c->state != BROKEN) {
        size_t taken = 0;
        if (c->state == WHOLE) c->state = BROKEN; /* more than was promised */
        else if (c->state == HEAD) taken = take_head(c, data, size);
        else if (c->state == LENGTH || c->state == CHUNK_DATA) taken = take_body(c, data, size);
        else taken = take_line(c, data);
        data += taken;
        size -= taken;
    }
}

/* Account for an answer that is over, one way or the other; then ask again, or rest. */
static void over(Connection *c, State state) {
    long ended = now();
    if (c->busy) {
        c->busy = false;
        in_flight--;
        if (state == WHOLE && c->status != 200) bad_status++;
        else if (state != WHOLE || (c->stream && memcmp(c->tail, done, sizeof c->tail))) incomplete++;
        else {
            good++;
            events_seen += c->events;
            tokens_seen += c->tokens;
            keep(&whole_times, ended - c->began);
            keep(&first_times, (c->first ? c->first : ended) - c->began);
        }
    }
    if (state != WHOLE || c->close) {
        close(c->fd);
        c->fd = -1;
        if (!more_wanted() || !dial(c)) return;
    }
    if (more_wanted()) ask(c);
}

static void hear(Connection *c, unsigned events) {
    static char data[65536];
    if (events & EPOLLOUT && !push(c)) c->state = BROKEN;
    ssize_t got = events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? recv(c->fd, data, sizeof data, 0) : -2;
    if (got > 0) feed(c, data, (size_t)got);
    if (c->state == BROKEN || !got || (got == -1 && errno != EAGAIN)) over(c, BROKEN);
    else if (c->state == WHOLE && c->busy) over(c, WHOLE);
}

static int rising(const void *a, const void *b) {
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, Times *times) {
    qsort(times->values, times->size, sizeof *times->values, rising);
    const int shown[] = {50, 90, 99, 100};
    printf(", \"%s\": {", name);
    for (int i = 0; i < 4; i++) {
        size_t place = times->size ? (times->size - 1) * (size_t)shown[i] / 100 : 0;
        printf("%s\"p%d\": %u", i ? ", " : "", shown[i], times->size ? times->values[place] : 0);
    }
    printf("}");
}

static void report(double seconds) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("{\"count\": %ld, \"seconds\": %.6f, \"cpu_seconds\": %.6f", good, seconds, cpu);
    printf(", \"errors\": {\"status\": %ld, \"incomplete\": %ld, \"unconnected\": %ld, \"unfinished\": %ld}", bad_status,
           incomplete, unconnected, unfinished);
    printf(", \"events\": %ld, \"tokens\": %ld", events_seen, tokens_seen);
    print_times("whole_us", &whole_times);
    print_times("first_us", &first_times);
    printf("}\n");
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) perror(path), exit(1);
    fseek(file, 0, SEEK_END);
    request_size = (size_t)ftell(file);
    rewind(file);
    request = malloc(request_size);
    if (fread(request, 1, request_size, file) != request_size) perror(path), exit(1);
    fclose(file);
    const char *mark = memmem(request, request_size, number_mark, sizeof number_mark - 1);
    number_at = mark ? (size_t)(mark - request) : 0;
}

int main(int count, char **arguments) {
    if (count != 6) return fprintf(stderr, "usage: load PORT REQUEST_FILE CONNECTIONS SECONDS MOST_REQUESTS\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    port = atoi(arguments[1]);
    read_request(arguments[2]);
    int connections = atoi(arguments[3]);
    most = atol(arguments[5]);
    poller = epoll_create1(0);
    Connection *all = calloc((size_t)connections, sizeof *all);
    for (int i = 0; i < connections; i++) dial(&all[i]);
    long began = now();
    deadline = began + (long)(atof(arguments[4]) * 1e6);
    for (int i = 0; i < connections; i++)
        if (all[i].fd >= 0 && more_wanted()) ask(&all[i]);
    struct epoll_event events[MOST_EVENTS];
    while (in_flight && now() < deadline + DRAIN_SECONDS * 1000000L) {
        int ready = epoll_wait(poller, events, MOST_EVENTS, 1000);
        for (int i = 0; i < ready; i++) hear(events[i].data.ptr, events[i].events);
    }
    unfinished = in_flight;
    report((double)(now() - began) / 1e6);
    return 0;
}
