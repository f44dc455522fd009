#include "xl-plugin/screen.h"

// Its macros would take words such as clear and timeout.
#define NCURSES_NOMACROS
#include <ncurses.h>

#include <algorithm>
#include <cstdio>

namespace specrep::xl {

namespace {

chtype attributes(TopSpan::Look look) {
  switch (look) {
    case TopSpan::Look::kStrong:
      return A_BOLD;
    case TopSpan::Look::kFaint:
      return A_DIM;
    case TopSpan::Look::kGood:
    case TopSpan::Look::kBusy:
      return has_colors() ? static_cast<chtype>(COLOR_PAIR(static_cast<int>(look))) : A_NORMAL;
    case TopSpan::Look::kBad:
      return has_colors() ? static_cast<chtype>(COLOR_PAIR(static_cast<int>(look))) | A_BOLD
                          : A_REVERSE;
    case TopSpan::Look::kPlain:
      break;
  }
  return A_NORMAL;
}

}  // namespace

std::unique_ptr<Screen> Screen::open() {
  if (newterm(nullptr, stdout, stdin) == nullptr) return nullptr;
  std::unique_ptr<Screen> screen(new Screen);
  cbreak();
  noecho();
  nodelay(stdscr, true);
  keypad(stdscr, true);
  curs_set(0);
  if (has_colors()) {
    start_color();
    use_default_colors();
    init_pair(static_cast<int>(TopSpan::Look::kGood), COLOR_GREEN, -1);
    init_pair(static_cast<int>(TopSpan::Look::kBusy), COLOR_YELLOW, -1);
    init_pair(static_cast<int>(TopSpan::Look::kBad), COLOR_RED, -1);
  }
  return screen;
}

Screen::~Screen() { endwin(); }

std::size_t Screen::columns() const { return static_cast<std::size_t>(std::max(1, COLS)); }
std::size_t Screen::rows() const { return static_cast<std::size_t>(std::max(1, LINES)); }

void Screen::draw(const std::vector<TopLine>& lines) {
  werase(stdscr);
  for (std::size_t row = 0; row < lines.size(); ++row) {
    wmove(stdscr, static_cast<int>(row), 0);
    for (const TopSpan& span : lines[row]) {
      wattrset(stdscr, static_cast<int>(attributes(span.look)));
      waddstr(stdscr, span.text.c_str());
    }
  }
  wrefresh(stdscr);
}

int Screen::key() {
  const int got = wgetch(stdscr);
  if (got == ERR) return kNothing;
  return got == KEY_RESIZE ? kResized : got;
}

}  // namespace specrep::xl
