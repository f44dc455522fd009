#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "libspecrep/error.h"

namespace specrep::guest {

// Whether a file may be called after the guest, as its log is on both hosts: a name that comes from
// another host must not lead out of a folder.
inline bool is_file_name(std::string_view name) {
  constexpr std::size_t kBytesMax = 200;  // leaves room for an ending: NAME_MAX is 255
  return !name.empty() && name.size() <= kBytesMax && name.front() != '.' &&
         std::none_of(name.begin(), name.end(), [](char c) {
           return c == '/' || static_cast<unsigned char>(c) < ' ' || c == '\x7f';
         });
}

// Throws Error unless is_file_name().
inline void check_name(std::string_view name) {
  if (!is_file_name(name))
    throw Error("the guest's name cannot be the name of a file",
                "give it one of 1 to 200 bytes without '/', control characters and a leading dot: "
                "`xl rename`");
}

}  // namespace specrep::guest
