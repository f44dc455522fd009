// Preloaded into a program, counts the bytes of heap that it has in use, exactly, where a resident
// set or a heap's size tell of it in steps: in HEAP_COUNT/PID while it runs, one number of 8 bytes.
// What is mapped, not allocated, is not counted.

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

using Count = std::atomic<std::int64_t>;

Count untold_bytes;
std::atomic<Count*> in_use_bytes{&untold_bytes};
char path[256];

void* taken(void* block) {
  if (block) *in_use_bytes += static_cast<std::int64_t>(malloc_usable_size(block));
  return block;
}

void given_back(void* block) {
  if (block) *in_use_bytes -= static_cast<std::int64_t>(malloc_usable_size(block));
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
  in_use_bytes = new (page) Count(untold_bytes.load());
  // What a child has is its own business.
  pthread_atfork(nullptr, nullptr, [] {
    in_use_bytes = &untold_bytes;
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
  void* moved = __libc_realloc(block, size);
  if (moved || size == 0) *in_use_bytes -= static_cast<std::int64_t>(before);
  return taken(moved);
}

void free(void* block) {
  given_back(block);
  __libc_free(block);
}

}  // extern "C"
