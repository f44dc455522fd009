// Preloaded into a program, counts the bytes of heap that it has in use, exactly, where a resident
// set or a heap's size tell of it in steps: in HEAP_COUNT/PID while it runs, a number of 8 bytes,
// and after it another, the least that it has been since somebody wrote a larger one there. What is
// mapped, not allocated, is not counted.

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

// glibc's own names for what is replaced here.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

struct Count {
  std::atomic<std::int64_t> in_use_bytes;
  std::atomic<std::int64_t> least_bytes;
};

Count untold;
std::atomic<Count*> count{&untold};
char path[256];

void* taken(void* block) {
  if (block) count.load()->in_use_bytes += static_cast<std::int64_t>(malloc_usable_size(block));
  return block;
}

void less(std::size_t bytes) {
  Count& to = *count;
  const std::int64_t left = to.in_use_bytes -= static_cast<std::int64_t>(bytes);
  std::int64_t least = to.least_bytes;
  while (left < least && !to.least_bytes.compare_exchange_weak(least, left)) continue;
}

__attribute__((constructor)) void begin() {
  const char* folder = std::getenv("HEAP_COUNT");
  if (!folder) return;
  std::snprintf(path, sizeof path, "%s/%d", folder, static_cast<int>(getpid()));
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof(Count)) != 0) return;
  void* page = mmap(nullptr, sizeof(Count), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (page == MAP_FAILED) return;
  const std::int64_t bytes = untold.in_use_bytes;
  count = new (page) Count{bytes, bytes};
  // What a child has is its own business.
  pthread_atfork(nullptr, nullptr, [] {
    count = &untold;
    path[0] = 0;
  });
}

__attribute__((destructor)) void end() {
  if (path[0]) unlink(path);
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) { return taken(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return taken(__libc_calloc(count, size)); }
void* memalign(std::size_t alignment, std::size_t size) {
  return taken(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  *block = memalign(alignment, size);
  return *block ? 0 : ENOMEM;
}

void* realloc(void* block, std::size_t size) {
  const std::size_t before = block ? malloc_usable_size(block) : 0;
  void* moved = taken(__libc_realloc(block, size));
  if (moved || size == 0) less(before);
  return moved;
}

void free(void* block) {
  if (block) less(malloc_usable_size(block));
  __libc_free(block);
}

}  // extern "C"
