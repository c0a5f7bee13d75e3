/*
 * The time of day of one process, moved. Only CLOCK_REALTIME is: what measures how long something takes must go on. Waits until an
 * instant of that clock are the kernel's and are not moved, nor are the times that the kernel gives to files.
 */
#define _GNU_SOURCE
#include "page.h"

#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

#define NS_PER_S 1000000000LL

REAL(int, clock_gettime, (clockid_t, struct timespec *))
REAL(int, gettimeofday, (struct timeval *restrict, void *restrict))
REAL(time_t, time, (time_t *))
REAL(int, timespec_get, (struct timespec *, int))

static int64_t offset_ns(void)
{
    return is_ordered() ? atomic_load_explicit(&shim_page->clock_offset_ns, memory_order_relaxed) : 0;
}

static void move(struct timespec *at, int64_t by_ns)
{
    /* Rounded down, so that what is left is never negative. */
    int64_t ns = at->tv_nsec + by_ns % NS_PER_S;

    at->tv_sec += by_ns / NS_PER_S;
    if (ns < 0) {
        at->tv_sec -= 1;
        ns += NS_PER_S;
    } else if (ns >= NS_PER_S) {
        at->tv_sec += 1;
        ns -= NS_PER_S;
    }
    at->tv_nsec = ns;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int failed = CALL(clock_gettime)(clock, at);
    int64_t by_ns = offset_ns();

    if (failed == 0 && by_ns != 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        move(at, by_ns);
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    int failed = CALL(gettimeofday)(at, zone);
    int64_t by_ns = offset_ns();

    if (failed == 0 && by_ns != 0) {
        struct timespec moved = {at->tv_sec, at->tv_usec * 1000};

        move(&moved, by_ns);
        at->tv_sec = moved.tv_sec;
        at->tv_usec = moved.tv_nsec / 1000;
    }
    return failed;
}

time_t time(time_t *at)
{
    struct timespec now;

    if (offset_ns() == 0 || clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0)
        return CALL(time)(at);
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base)
{
    int done = CALL(timespec_get)(at, base);
    int64_t by_ns = offset_ns();

    if (done == TIME_UTC && by_ns != 0)
        move(at, by_ns);
    return done;
}
