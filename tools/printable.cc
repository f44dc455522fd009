#include "tools/printable.h"

#include <algorithm>

namespace specrep::tools {

namespace {

// U+0080 to U+009F are this byte and one that is less than 0xa0. It begins no other sequence with
// such a byte, and is inside of none.
constexpr unsigned char kLatin1 = 0xc2;

}  // namespace

std::string printable(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (byte == kLatin1 && next >= 0x80 && next < 0xa0) {
      out += '?';
      ++i;
    } else if (byte == '\n') {
      out += ' ';
    } else {
      out += byte < ' ' || byte == 0x7f ? '?' : text[i];
    }
  }
  return out;
}

std::string printable_ascii(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

}  // namespace specrep::tools
