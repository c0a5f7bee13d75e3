/* Finds the page of this process when the library is loaded. */
#define _GNU_SOURCE
#include "page.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct page nothing_ordered;
HIDDEN struct page *shim_page = &nothing_ordered;

/* log.dirs as the broker was told it, and where that leads: without a slash at the end. */
static char log_dirs[2][PATH_MAX];

static struct page *map(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat status;
    struct page *mapped = MAP_FAILED;

    if (fd < 0)
        return NULL;
    /* Beyond the end of a file, memory that is mapped kills whoever touches it. */
    if (fstat(fd, &status) == 0 && status.st_size >= PAGE_BYTES)
        mapped = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        return NULL;
    if (mapped->magic == PAGE_MAGIC && mapped->version == PAGE_VERSION)
        return mapped;
    munmap(mapped, PAGE_BYTES);
    return NULL;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("GAUNTLET_SHIM_PAGE");
    const char *dir = getenv("GAUNTLET_SHIM_DIR");
    struct page *mapped;

    if (path == NULL || dir == NULL || dir[0] != '/' || strlen(dir) >= PATH_MAX)
        return;
    strcpy(log_dirs[0], dir);
    if (realpath(dir, log_dirs[1]) == NULL)
        log_dirs[1][0] = '\0';
    mapped = map(path);
    /* Without it nothing is done, which the supervisor sees: nobody has written his name. */
    if (mapped == NULL)
        return;
    atomic_store(&mapped->mapped_by, (uint64_t)getpid());
    shim_page = mapped;
}

bool is_below_log_dirs(const char *path)
{
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(log_dirs[i]);

        if (length > 0 && strncmp(path, log_dirs[i], length) == 0 && (path[length] == '/' || path[length] == '\0'))
            return true;
    }
    return false;
}
