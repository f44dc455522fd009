#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace specrep {

// A guest frame number, as Xen uses the word: for PVH and HVM guests gfn and pfn are the same.
using Gfn = std::uint64_t;

// An epoch's number. 0 is the first copy of memory, 1 the first epoch that can be activated.
using Epoch = std::uint64_t;

inline constexpr std::size_t kPageBytes = 4096;

// What changes are told apart by inside a page.
inline constexpr std::size_t kLineBytes = 64;
inline constexpr std::size_t kLinesPerPage = kPageBytes / kLineBytes;  // as many as a u64 has bits

// page: kPageBytes.
inline bool is_zero_page(const std::byte* page) {
  static constexpr std::array<std::byte, kPageBytes> kZero{};
  return std::memcmp(page, kZero.data(), kPageBytes) == 0;
}

}  // namespace specrep
