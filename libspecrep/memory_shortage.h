#pragma once

#include <string>

// Not installed: what keeps a process going when dom0 runs out of memory.
namespace specrep {

// What is in this process's memory stays there, programs and libraries too, and the kernel kills
// others first; what it starts is spared as well, but not kept in memory. Returns what the kernel
// refused, as one text; empty: nothing. All goes on then as far as there is memory.
std::string outlive_memory_shortage();

}  // namespace specrep
