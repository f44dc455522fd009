#include "tools/svg.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <utility>

namespace specrep::tools {

namespace {

constexpr double kLeft = 80, kRight = 20, kLegend = 26, kTitle = 22, kBottom = 50;
constexpr double kBandHeight = 110;
// A line with fewer points shows each of them.
constexpr std::size_t kPointsMarkedMax = 40;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", std::round(value * 100) / 100);
  return text;
}

// 1, 2 or 5 times a power of ten, so that there are about five steps over `range`.
double tick_step(double range) {
  const double raw = range / 5;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

// The same for seconds of the clock.
double time_step(double range_s) {
  constexpr double kSteps[] = {1,     2,     5,     10,    15,        30,          60,
                               120,   300,   600,   900,   1800,      3600,        7200,
                               10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400.0, 30 * 86400.0};
  for (const double step : kSteps)
    if (range_s / step <= 8) return step;
  return tick_step(range_s);
}

std::string clock_label(double unix_s, double step) {
  const auto whole = static_cast<std::time_t>(unix_s);
  std::tm utc{};
  gmtime_r(&whole, &utc);
  char text[32];
  std::strftime(text, sizeof text,
                step < 60      ? "%H:%M:%S"
                : step < 43200 ? "%H:%M"
                               : "%b %d %H:%M",
                &utc);
  return text;
}

}  // namespace

std::string escape_markup(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // Others of the control characters are not allowed, not even escaped.
        out += static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return out;
}

void Svg::title(const std::string& words) {
  text(kWidth / 2, top_ + 24, words, "middle", 16);
  top_ += 36;
}

void Svg::chart(const Chart& chart) {
  double x_max = 0, y_max = 0;
  std::vector<double> pile;
  for (const Series& s : chart.series) {
    pile.resize(std::max(pile.size(), s.kind == Kind::kArea ? s.points.size() : 0));
    for (std::size_t i = 0; i < s.points.size(); ++i) {
      x_max = std::max(x_max, s.points[i].x);
      double y = s.points[i].y;
      if (!std::isfinite(y)) continue;
      if (s.kind == Kind::kArea) y = pile[i] += y;
      y_max = std::max(y_max, y);
    }
  }
  Frame frame{chart.x_min.value_or(0),
              chart.x_max.value_or(x_max),
              y_max > 0 ? y_max : 1,
              kLeft,
              kWidth - kRight,
              top_ + kLegend + (chart.title.empty() ? 0 : kTitle),
              top_ + chart.height - kBottom};
  if (frame.x_max <= frame.x_min) frame.x_max = frame.x_min + 1;

  text((frame.left + frame.right) / 2, frame.top - kLegend - 4, chart.title, "middle", 13);
  x_axis(frame, chart.x_is_time);
  for (double t = 0, step = tick_step(frame.y_max); t <= frame.y_max * 1.05; t += step) {
    grid(frame.left, frame.y(t), frame.right, frame.y(t));
    text(frame.left - 6, frame.y(t) + 4, number(t), "end", 11);
  }
  text((frame.left + frame.right) / 2, frame.bottom + 36, chart.x_name, "middle", 12);
  body_ +=
      "<g transform=\"translate(18," + number((frame.top + frame.bottom) / 2) + ") rotate(-90)\">";
  text(0, 0, chart.y_name, "middle", 12);
  body_ += "</g>\n";

  std::vector<double> base;
  for (const Series& s : chart.series)
    if (s.kind == Kind::kArea)
      area_of(frame, s, base);
    else
      line_of(frame, s);
  std::vector<std::pair<std::string, std::string>> names;
  for (const Series& s : chart.series) names.emplace_back(s.name, s.color);
  legend(names, frame.left, frame.top - 10);
  top_ += chart.height;
}

void Svg::band(double x_min, double x_max, const std::vector<Stretch>& stretches,
               const std::vector<Mark>& marks) {
  Frame frame{x_min,     std::max(x_max, x_min + 1), 1, kLeft, kWidth - kRight,
              top_ + 34, top_ + kBandHeight - 34};
  x_axis(frame, true);
  std::vector<std::pair<std::string, std::string>> names;
  for (const Stretch& s : stretches) {
    // What lasts a moment shall be seen, too.
    const double width = std::max(1.0, frame.x(s.to) - frame.x(s.from));
    body_ += "<rect class=\"state\" x=\"" + number(frame.x(s.from)) + "\" y=\"" +
             number(frame.top) + "\" width=\"" + number(width) + "\" height=\"" +
             number(frame.bottom - frame.top) + "\" fill=\"" + s.color + "\"><title>" +
             escape_markup(s.name) + "</title></rect>\n";
    if (std::find(names.begin(), names.end(), std::pair(s.name, s.color)) == names.end())
      names.emplace_back(s.name, s.color);
  }
  double last_label = -1000;
  for (const Mark& mark : marks) {
    const double x = frame.x(mark.x);
    body_ += "<g class=\"mark\"><title>" + escape_markup(mark.text) + "</title>";
    body_ += "<path stroke=\"currentColor\" fill=\"none\" d=\"M" + number(x) + " " +
             number(frame.top - 6) + "V" + number(frame.bottom) + "\"/>";
    if (x - last_label > 18) {
      text(x, frame.top - 10, mark.label, "middle", 11);
      last_label = x;
    }
    body_ += "</g>\n";
  }
  legend(names, frame.left, top_ + kBandHeight - 1);
  top_ += kBandHeight + 4;
}

std::string Svg::element(const std::string& id, const std::string& label) const {
  return "<svg id=\"" + escape_markup(id) + "\" role=\"img\" aria-label=\"" + escape_markup(label) +
         "\" viewBox=\"0 0 " + number(kWidth) + " " + number(top_) +
         "\" font-family=\"sans-serif\">\n" + body_ + "</svg>\n";
}

std::string Svg::file() const {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(kWidth) + "\" height=\"" +
         number(top_) +
         "\" font-family=\"sans-serif\" color=\"black\">\n<rect width=\"100%\" height=\"100%\" "
         "fill=\"white\"/>\n" +
         body_ + "</svg>\n";
}

void Svg::legend(const std::vector<std::pair<std::string, std::string>>& names, double x,
                 double y) {
  for (const auto& [name, color] : names) {
    body_ += "<rect width=\"12\" height=\"9\" fill=\"" + color + "\" x=\"" + number(x) + "\" y=\"" +
             number(y - 8) + "\"/>\n";
    text(x + 17, y, name, "start", 11);
    // What it takes at most, since it cannot be measured here.
    x += 40 + 6 * static_cast<double>(name.size());
  }
}

void Svg::x_axis(const Frame& frame, bool is_time) {
  const double range = frame.x_max - frame.x_min;
  const double step = is_time ? time_step(range) : tick_step(range);
  for (double t = std::ceil(frame.x_min / step) * step; t <= frame.x_max + range * 1e-4;
       t += step) {
    grid(frame.x(t), frame.bottom, frame.x(t), frame.top);
    text(frame.x(t), frame.bottom + 16, is_time ? clock_label(t, step) : number(t), "middle", 11);
  }
}

void Svg::line_of(const Frame& frame, const Series& series) {
  const auto start =
      "<polyline fill=\"none\" stroke=\"" + series.color + "\" stroke-width=\"1.5\" points=\"";
  if (series.kind == Kind::kLine) {
    bool open = false;
    for (const Point p : series.points) {
      if (std::isfinite(p.y)) {
        if (!std::exchange(open, true)) body_ += start;
        body_ += number(frame.x(p.x)) + "," + number(frame.y(p.y)) + " ";
      } else if (std::exchange(open, false)) {
        body_ += "\"/>\n";
      }
    }
    if (open) body_ += "\"/>\n";
  }
  if (series.kind == Kind::kMarks || series.points.size() < kPointsMarkedMax)
    for (const Point p : series.points)
      if (std::isfinite(p.y))
        body_ += "<circle r=\"" + std::string(series.kind == Kind::kMarks ? "4" : "3") +
                 "\" fill=\"" + series.color + "\" cx=\"" + number(frame.x(p.x)) + "\" cy=\"" +
                 number(frame.y(p.y)) + "\"/>\n";
}

void Svg::area_of(const Frame& frame, const Series& series, std::vector<double>& base) {
  base.resize(std::max(base.size(), series.points.size()));
  const auto finish = [&](std::size_t from, std::size_t to) {
    if (from == to) return;
    std::string path = "M";
    for (std::size_t i = from; i < to; ++i)
      path += number(frame.x(series.points[i].x)) + " " +
              number(frame.y(base[i] + series.points[i].y)) + " ";
    for (std::size_t i = to; i-- > from;)
      path += number(frame.x(series.points[i].x)) + " " + number(frame.y(base[i])) + " ";
    body_ += "<path class=\"area\" fill=\"" + series.color + "\" fill-opacity=\"0.75\" stroke=\"" +
             series.color + "\" stroke-width=\"1\" d=\"" + path + "Z\"/>\n";
    for (std::size_t i = from; i < to; ++i) base[i] += series.points[i].y;
  };
  std::size_t from = 0;
  for (std::size_t i = 0; i < series.points.size(); ++i)
    if (!std::isfinite(series.points[i].y)) {
      finish(from, i);
      from = i + 1;
    }
  finish(from, series.points.size());
}

void Svg::text(double x, double y, const std::string& words, const char* anchor, int size) {
  body_ += "<text fill=\"currentColor\" x=\"" + number(x) + "\" y=\"" + number(y) +
           "\" text-anchor=\"" + anchor + "\" font-size=\"" + std::to_string(size) + "\">" +
           escape_markup(words) + "</text>\n";
}

void Svg::grid(double xa, double ya, double xb, double yb) {
  body_ += "<line stroke=\"currentColor\" stroke-opacity=\"0.15\" x1=\"" + number(xa) + "\" y1=\"" +
           number(ya) + "\" x2=\"" + number(xb) + "\" y2=\"" + number(yb) + "\"/>\n";
}

}  // namespace specrep::tools
