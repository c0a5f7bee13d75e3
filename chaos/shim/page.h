/*
 * The page that a broker shares with its supervisor: orders in one direction, what was done in the other. The layout is also
 * that of `chaos/src/shim/page.rs`; a change of either is a new PAGE_VERSION, which is compared before the page is used.
 *
 * The supervisor writes the file; the broker has it mapped. `generation` is 0 while nothing is ordered. It is set back to 0 before
 * the orders are changed and to a new number afterwards, so whoever reads the same number before and after them has orders that
 * belong together.
 */
#ifndef GAUNTLET_SHIM_PAGE_H
#define GAUNTLET_SHIM_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096
#define PAGE_MAGIC 0x4d485347u /* "GSHM" in memory */
#define PAGE_VERSION 1u

/* What is done to files and directories below log.dirs; `operations` is a set of these. */
enum operation {
    OPERATION_READ = 1,
    /* Bytes are written, or a file gets longer. */
    OPERATION_WRITE = 2,
    OPERATION_SYNC = 4,
    /* Something new gets a name. */
    OPERATION_CREATE = 8,
    /* A file that is there is opened for writing. */
    OPERATION_OPEN = 16,
    /* A file gets shorter, another name, or none. */
    OPERATION_CHANGE = 32,
};

struct page {
    uint32_t magic;
    uint32_t version;
    /* The supervisor's. */
    _Atomic uint32_t generation;
    _Atomic uint32_t operations;
    /* What such an operation fails with; 0: it does not. */
    _Atomic int32_t error;
    uint32_t reserved;
    /* How much later it is done. */
    _Atomic uint64_t latency_ns;
    /* What is added to the time of day. */
    _Atomic int64_t clock_offset_ns;
    /* The broker's. When an order was first carried out; CLOCK_MONOTONIC. */
    _Atomic uint64_t first_acted_ns;
    _Atomic uint64_t delayed;
    _Atomic uint64_t failed;
    /* The process that has mapped it last. */
    _Atomic uint64_t mapped_by;
};

_Static_assert(sizeof(struct page) <= PAGE_BYTES, "one page");
_Static_assert(offsetof(struct page, generation) == 8, "layout");
_Static_assert(offsetof(struct page, operations) == 12, "layout");
_Static_assert(offsetof(struct page, error) == 16, "layout");
_Static_assert(offsetof(struct page, latency_ns) == 24, "layout");
_Static_assert(offsetof(struct page, clock_offset_ns) == 32, "layout");
_Static_assert(offsetof(struct page, first_acted_ns) == 40, "layout");
_Static_assert(offsetof(struct page, delayed) == 48, "layout");
_Static_assert(offsetof(struct page, failed) == 56, "layout");
_Static_assert(offsetof(struct page, mapped_by) == 64, "layout");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "memory is shared between processes: no lock can be");

#define HIDDEN __attribute__((visibility("hidden")))

/* Never NULL: without a page of the supervisor's, one on which nothing is ordered. */
HIDDEN extern struct page *shim_page;

/* Whether anything is ordered. All that a call costs while nothing is. */
static inline bool is_ordered(void)
{
    return atomic_load_explicit(&shim_page->generation, memory_order_relaxed) != 0;
}

/* Whether an absolute path, or one from the working directory, leads to log.dirs or below. */
HIDDEN bool is_below_log_dirs(const char *path);

/*
 * REAL(type, name, parameters) finds the function that we stand in front of, CALL(name) calls it. They are found when the library is
 * loaded, because dlsym(3) must not be called in a signal handler; a constructor of another library may be earlier than that.
 */
#define REAL(type, name, parameters)                                                                       \
    static type(*real_##name) parameters;                                                                  \
    __attribute__((constructor)) static void find_##name(void)                                             \
    {                                                                                                      \
        __typeof__(real_##name) found = (__typeof__(real_##name))dlsym(RTLD_NEXT, #name);                  \
        __atomic_store_n(&real_##name, found, __ATOMIC_RELAXED);                                           \
    }                                                                                                      \
    static __typeof__(real_##name) the_##name(void)                                                        \
    {                                                                                                      \
        if (__atomic_load_n(&real_##name, __ATOMIC_RELAXED) == NULL)                                       \
            find_##name();                                                                                 \
        return __atomic_load_n(&real_##name, __ATOMIC_RELAXED);                                            \
    }
#define CALL(name) (*the_##name())

#endif
