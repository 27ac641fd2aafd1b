// Scratch memory by thread.
#include "avx512.h"
#include <pthread.h>
#include <stdlib.h>

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local void *buffer;
static _Thread_local size_t capacity;

static void make_key(void) {
    if (pthread_key_create(&key, free) != 0) abort();
}

void *t2v_thread_scratch(size_t bytes) {
    if (bytes <= capacity) return buffer;
    pthread_once(&once, make_key);
    free(buffer);
    size_t size = (bytes + bytes / 4 + 4095) / 4096 * 4096;
    buffer = aligned_alloc(4096, size);
    // Like any allocation in Swift: without memory the process ends.
    if (!buffer || pthread_setspecific(key, buffer) != 0) abort();
    capacity = size;
    return buffer;
}
