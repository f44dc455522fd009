#pragma once

#include <string>

namespace specrep::tools {

// Text that came from elsewhere (the other host, a file, a guest's name), for one line of a
// terminal: a line feed is a blank, and each other control character of ASCII or, in UTF-8, of
// Latin-1 a question mark. They could move the cursor, hide what stands there, or have the terminal
// answer as if somebody had typed.
std::string printable(const std::string& text);

// The same, and nothing but ASCII stays: as many columns as bytes.
std::string printable_ascii(std::string text);

}  // namespace specrep::tools
