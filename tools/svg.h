#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace specrep::tools {

// Text for an element or an attribute of SVG or HTML.
std::string escape_markup(const std::string& text);

// Charts, one below the other, as SVG without a library: axes, lines and areas. Text and axes have
// the colour of the text around, so that it can be read in light and in dark.
class Svg {
 public:
  static constexpr double kWidth = 900, kChartHeight = 340;

  struct Point {
    double x, y;  // y not finite: a gap
  };
  enum class Kind { kLine, kMarks, kArea };
  struct Series {
    std::string name, color;
    std::vector<Point> points;
    Kind kind = Kind::kLine;
  };
  struct Chart {
    std::string title, x_name, y_name;
    // Areas are piled on one another, in this order; they must have the same xs.
    std::vector<Series> series;
    std::optional<double> x_min = std::nullopt, x_max = std::nullopt;  // else 0 and the largest
    bool x_is_time = false;  // seconds since 1970, shown as UTC
    double height = kChartHeight;
  };
  void title(const std::string& words);
  void chart(const Chart& chart);

  // A row of coloured stretches of time with marks on it, on the axis of charts from x_min to
  // x_max.
  struct Stretch {
    double from, to;
    std::string name, color;
  };
  struct Mark {
    double x;
    std::string label, text;
  };
  void band(double x_min, double x_max, const std::vector<Stretch>& stretches,
            const std::vector<Mark>& marks);

  // For HTML: as wide as there is room. `label` says what it shows, for those who do not see it.
  std::string element(const std::string& id, const std::string& label) const;
  // A file of its own, on white.
  std::string file() const;

 private:
  struct Frame {
    double x_min, x_max, y_max, left, right, top, bottom;
    double x(double value) const {
      return left + (right - left) * (value - x_min) / (x_max - x_min);
    }
    double y(double value) const { return bottom - (bottom - top) * value / (y_max * 1.05); }
  };
  // Names and colours in a row.
  void legend(const std::vector<std::pair<std::string, std::string>>& names, double x, double y);
  void x_axis(const Frame& frame, bool is_time);
  void line_of(const Frame& frame, const Series& series);
  void area_of(const Frame& frame, const Series& series, std::vector<double>& base);
  void text(double x, double y, const std::string& words, const char* anchor, int size);
  void grid(double xa, double ya, double xb, double yb);

  double top_ = 0;
  std::string body_;
};

}  // namespace specrep::tools
