#pragma once

#include <cstddef>
#include <cstdint>

namespace specrep {

// A guest frame number, as Xen uses the word: for PVH and HVM guests gfn and pfn are the same.
using Gfn = std::uint64_t;

// An epoch's number. 0 is the first copy of memory, 1 the first epoch that can be activated.
using Epoch = std::uint64_t;

inline constexpr std::size_t kPageBytes = 4096;

}  // namespace specrep
