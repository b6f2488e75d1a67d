/* A fast fake of OpenAI's POST /v1/chat/completions: one thread, epoll, kept connections, answers made beforehand.

   usage: fake_upstream PORT

   Listens on 127.0.0.1 and takes its orders from the request's body (looked for in its first 512 and last 256 bytes):
     "stream":true            server-sent events in place of one object
     "include_usage":true     `"usage":null` in each chunk and the usage chunk at the end, as OpenAI sends them
     "bench_chunks":N         writes that the stream is made of; the last holds the finish chunk and [DONE] (100)
     "bench_interval_us":N    time between two of them; 0 sends them one behind the other (0)
     "bench_fail":1           answers 500; 2 breaks the answer off in the middle by closing the connection (0) */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_EVENTS = 512, HEAD_WINDOW = 512, TAIL_WINDOW = 256 };

typedef struct {
    char *bytes;
    size_t size;
} Text;

typedef struct Connection {
    int fd;
    char *in;
    size_t have, room;
    bool streaming, usage, cut, waiting, armed; /* waiting: in the queue of timers; armed: wants EPOLLOUT */
    long written, chunks, interval, due;        /* interval, due: microseconds */
    const char *out;
    size_t out_left;
    struct Connection *before, *after;
} Connection;

static int poller;
static Connection *first_due, *last_due;
static Text plain, refused, opening[2], middle[2], ending[2];

#define CHUNK_HEAD                                                                                                     \
    "data: {\"id\":\"chatcmpl-BenchBenchBenchBenchBenchBench0\",\"object\":\"chat.completion.chunk\","                  \
    "\"created\":1767225600,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\","                        \
    "\"system_fingerprint\":\"fp_0123456789\",\"choices\":["
#define CHUNK(delta, finish)                                                                                           \
    CHUNK_HEAD "{\"index\":0,\"delta\":" delta ",\"logprobs\":null,\"finish_reason\":" finish "}]"
#define COUNTS                                                                                                         \
    "\"usage\":{\"prompt_tokens\":120,\"completion_tokens\":100,\"total_tokens\":220,"                                 \
    "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"                                              \
    "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}"
#define STREAM_HEAD                                                                                                    \
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_bench\r\n"                 \
    "openai-processing-ms: 1\r\ntransfer-encoding: chunked\r\n\r\n"

static const char *plain_body =
    "{\"id\":\"chatcmpl-BenchBenchBenchBenchBenchBench0\",\"object\":\"chat.completion\",\"created\":1767225600,"
    "\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
    "\"The quick brown fox jumps over the lazy dog, and the dog does not mind.\",\"refusal\":null,\"annotations\":[]},"
    "\"logprobs\":null,\"finish_reason\":\"stop\"}]," COUNTS
    ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\"}";
static const char *error_body =
    "{\"error\":{\"message\":\"The bench asked for this.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";

static Text text(const char *format, size_t size, const char *body) {
    Text made;
    made.size = (size_t)asprintf(&made.bytes, format, size, body);
    return made;
}

static Text piece(const char *head, const char *event, const char *tail) {
    Text made;
    made.size = (size_t)asprintf(&made.bytes, "%s%zx\r\n%s\r\n%s", head, strlen(event), event, tail);
    return made;
}

static void make_answers(void) {
    const char *head = "content-type: application/json\r\nx-request-id: req_bench\r\nopenai-processing-ms: 1\r\n";
    char *format;
    if (asprintf(&format, "HTTP/1.1 200 OK\r\n%scontent-length: %%zu\r\n\r\n%%s", head) < 0) exit(1);
    plain = text(format, strlen(plain_body), plain_body);
    if (asprintf(&format, "HTTP/1.1 500 Error\r\n%scontent-length: %%zu\r\n\r\n%%s", head) < 0) exit(1);
    refused = text(format, strlen(error_body), error_body);
    opening[0] = piece(STREAM_HEAD, CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null") "}\n\n", "");
    opening[1] = piece(STREAM_HEAD, CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null") ",\"usage\":null}\n\n", "");
    middle[0] = piece("", CHUNK("{\"content\":\" word\"}", "null") "}\n\n", "");
    middle[1] = piece("", CHUNK("{\"content\":\" word\"}", "null") ",\"usage\":null}\n\n", "");
    ending[0] = piece("", CHUNK("{}", "\"stop\"") "}\n\ndata: [DONE]\n\n", "0\r\n\r\n");
    ending[1] = piece("", CHUNK("{}", "\"stop\"") ",\"usage\":null}\n\n" CHUNK_HEAD "]," COUNTS "}\n\ndata: [DONE]\n\n",
                      "0\r\n\r\n");
}

static long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000L + at.tv_nsec / 1000;
}

static const char *find(const char *body, size_t size, const char *name) {
    size_t head = size < HEAD_WINDOW ? size : HEAD_WINDOW, tail = size < TAIL_WINDOW ? size : TAIL_WINDOW;
    const char *at = memmem(body, head, name, strlen(name));
    if (!at) at = memmem(body + size - tail, tail, name, strlen(name));
    if (!at) return NULL;
    at += strlen(name);
    return at + strspn(at, ": ");
}

static long number(const char *body, size_t size, const char *name, long otherwise) {
    const char *at = find(body, size, name);
    return at ? strtol(at, NULL, 10) : otherwise;
}

static bool is_true(const char *body, size_t size, const char *name) {
    const char *at = find(body, size, name);
    return at && !strncmp(at, "true", 4);
}

static void leave_queue(Connection *c) {
    if (!c->waiting) return;
    *(c->before ? &c->before->after : &first_due) = c->after;
    *(c->after ? &c->after->before : &last_due) = c->before;
    c->waiting = false;
}

static void join_queue(Connection *c) {
    Connection *place = last_due;
    while (place && place->due > c->due) place = place->before;
    c->before = place;
    c->after = place ? place->after : first_due;
    *(c->before ? &c->before->after : &first_due) = c;
    *(c->after ? &c->after->before : &last_due) = c;
    c->waiting = true;
}

static void end(Connection *c) {
    leave_queue(c);
    close(c->fd);
    free(c->in);
    free(c);
}

static void arm(Connection *c, bool wanted) {
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    if (c->armed != wanted) epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    c->armed = wanted;
}

/* Write what is pending. 1: all of it went; 0: the socket is full; -1: the client has gone. */
static int flush(Connection *c) {
    while (c->out_left) {
        ssize_t sent = send(c->fd, c->out, c->out_left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return arm(c, true), 0;
        if (sent < 0) return -1;
        c->out += sent;
        c->out_left -= (size_t)sent;
    }
    return arm(c, false), 1;
}

static void say(Connection *c, Text what) {
    c->out = what.bytes;
    c->out_left = what.size;
}

/* The next chunks of a stream, up to the next pause. -1: the connection is to be ended. */
static int stream(Connection *c) {
    while (c->streaming) {
        if (c->cut && c->written * 2 >= c->chunks) return -1;
        long place = c->written++;
        c->streaming = c->written < c->chunks;
        say(c, !c->streaming ? ending[c->usage] : place ? middle[c->usage] : opening[c->usage]);
        int went = flush(c);
        if (went < 0) return -1;
        if (c->streaming && c->interval) {
            c->due += c->interval;
            join_queue(c);
            return 0;
        }
        if (!went) return 0;
    }
    return 0;
}

static int answer(Connection *c, const char *body, size_t size) {
    long fail = number(body, size, "\"bench_fail\"", 0);
    c->cut = fail == 2;
    if (fail != 1 && is_true(body, size, "\"stream\"")) {
        c->streaming = true;
        c->usage = is_true(body, size, "\"include_usage\"");
        c->written = 0;
        c->chunks = number(body, size, "\"bench_chunks\"", 100);
        if (c->chunks < 2) c->chunks = 2;
        c->interval = number(body, size, "\"bench_interval_us\"", 0);
        c->due = now();
        return stream(c);
    }
    say(c, fail == 1 ? refused : plain);
    if (c->cut) c->out_left -= 100;
    return flush(c) < 0 || c->cut ? -1 : 0;
}

/* Every whole request in the buffer, one after the other. -1: end the connection. */
static int serve(Connection *c) {
    while (c->have && !c->streaming && !c->out_left) {
        char *head_end = memmem(c->in, c->have, "\r\n\r\n", 4);
        if (!head_end) return 0;
        *head_end = 0;
        const char *length = strcasestr(c->in, "\ncontent-length:");
        *head_end = '\r';
        size_t body_at = (size_t)(head_end - c->in) + 4, size = length ? strtoul(length + 16, NULL, 10) : 0;
        if (c->have < body_at + size) return 0;
        int went = answer(c, c->in + body_at, size);
        c->have -= body_at + size;
        memmove(c->in, c->in + body_at + size, c->have);
        if (went < 0) return -1;
    }
    return 0;
}

static int read_all(Connection *c) {
    for (;;) {
        if (c->room - c->have < 4096) c->in = realloc(c->in, (c->room = c->room ? c->room * 2 : 8192) + 1);
        ssize_t got = recv(c->fd, c->in + c->have, c->room - c->have, 0);
        if (got < 0 && errno == EAGAIN) return 0;
        if (got <= 0) return -1;
        c->have += (size_t)got;
        c->in[c->have] = 0;
        if (c->have < c->room) return 0;
    }
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), yes = 1;
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        Connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static void hear(Connection *c, unsigned events) {
    int went = events & (EPOLLERR | EPOLLHUP) ? -1 : events & EPOLLIN ? read_all(c) : 0;
    if (!went && c->out_left) went = flush(c) < 0 ? -1 : 0;
    if (!went && !c->out_left && c->streaming && !c->waiting) went = stream(c);
    if (!went && serve(c) == 0) return;
    end(c);
}

static int run_timers(void) {
    while (first_due && first_due->due <= now()) {
        Connection *c = first_due;
        leave_queue(c);
        if (!c->out_left && stream(c) < 0) end(c);
        else if (!c->streaming && serve(c) < 0) end(c);
    }
    if (!first_due) return -1;
    long left = first_due->due - now();
    return left <= 0 ? 0 : (int)((left + 999) / 1000);
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "usage: fake_upstream PORT\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    make_answers();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) return perror("fake_upstream"), 1;
    poller = epoll_create1(0);
    struct epoll_event events[MOST_EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, MOST_EVENTS, run_timers());
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) hear(events[i].data.ptr, events[i].events);
            else accept_all(listener);
        }
    }
}
