// specrep-trace plot: one trace as a picture (SVG), without a library: two axes and some lines.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "libspecrep/error.h"
#include "tools/trace/commands.h"
#include "tools/trace/replay_arguments.h"

namespace specrep::tools {
namespace {

struct Options {
  std::string trace, output;
  ReplayArguments replay;
};

struct Point {
  double x, y;
};

struct Series {
  std::string name, color;
  std::vector<Point> points;
  bool line;  // else single marks
};

// 1, 2 or 5 times a power of ten, so that there are about five steps up to `max`.
double tick_step(double max) {
  const double raw = max / 5;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

class Svg {
 public:
  static constexpr double kWidth = 900, kChartHeight = 340;

  explicit Svg(const std::string& title) { text(kWidth / 2, 24, title, "middle", 16); }

  void chart(const std::string& title, const std::string& x_name, const std::string& y_name,
             const std::vector<Series>& series) {
    constexpr double kLeft = 80, kRight = 20, kTop = 40, kBottom = 50;
    const double x0 = kLeft, x1 = kWidth - kRight, y1 = top_ + kTop,
                 y0 = top_ + kChartHeight - kBottom;
    double x_max = 0, y_max = 0;
    for (const auto& s : series)
      for (const Point p : s.points) x_max = std::max(x_max, p.x), y_max = std::max(y_max, p.y);
    if (x_max <= 0) x_max = 1;
    if (y_max <= 0) y_max = 1;
    const auto x = [&](double value) { return x0 + (x1 - x0) * value / x_max; };
    const auto y = [&](double value) { return y0 - (y0 - y1) * value / (y_max * 1.05); };

    text((x0 + x1) / 2, y1 - 14, title, "middle", 13);
    for (double t = 0, step = tick_step(x_max); t <= x_max * 1.0001; t += step) {
      line(x(t), y0, x(t), y1, "#e5e5e5");
      text(x(t), y0 + 16, number(t), "middle", 11);
    }
    for (double t = 0, step = tick_step(y_max); t <= y_max * 1.05; t += step) {
      line(x0, y(t), x1, y(t), "#e5e5e5");
      text(x0 - 6, y(t) + 4, number(t), "end", 11);
    }
    text((x0 + x1) / 2, y0 + 36, x_name, "middle", 12);
    body_ += "<g transform=\"translate(18," + number((y0 + y1) / 2) + ") rotate(-90)\">";
    text(0, 0, y_name, "middle", 12);
    body_ += "</g>\n";
    double legend = y1 + 12;
    for (const auto& s : series) {
      if (s.line) {
        body_ +=
            "<polyline fill=\"none\" stroke=\"" + s.color + "\" stroke-width=\"1.5\" points=\"";
        for (const Point p : s.points) body_ += number(x(p.x)) + "," + number(y(p.y)) + " ";
        body_ += "\"/>\n";
      }
      if (!s.line || s.points.size() < 40)
        for (const Point p : s.points)
          body_ += "<circle r=\"4\" fill=\"" + s.color + "\" cx=\"" + number(x(p.x)) + "\" cy=\"" +
                   number(y(p.y)) + "\"/>\n";
      body_ += "<rect width=\"12\" height=\"4\" fill=\"" + s.color + "\" x=\"" + number(x1 - 190) +
               "\" y=\"" + number(legend - 4) + "\"/>\n";
      text(x1 - 172, legend, s.name, "start", 11);
      legend += 15;
    }
    top_ += kChartHeight;
  }

  std::string finish() const {
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(kWidth) + "\" height=\"" +
           number(top_) +
           "\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" "
           "fill=\"white\"/>\n" +
           body_ + "</svg>\n";
  }

 private:
  static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", std::round(value * 100) / 100);
    return text;
  }
  void text(double x, double y, const std::string& words, const char* anchor, int size) {
    body_ += "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor +
             "\" font-size=\"" + std::to_string(size) + "\">" + escape(words) + "</text>\n";
  }
  void line(double xa, double ya, double xb, double yb, const char* color) {
    body_ += "<line x1=\"" + number(xa) + "\" y1=\"" + number(ya) + "\" x2=\"" + number(xb) +
             "\" y2=\"" + number(yb) + "\" stroke=\"" + color + "\"/>\n";
  }

  double top_ = 36;
  std::string body_;
};

Series over_time(const std::string& name, const std::string& color, const trace::Replayed& replayed,
                 double (*value)(const epoch::EpochReport&)) {
  Series series{name, color, {}, true};
  double seconds = 0;
  for (const auto& epoch : replayed.epochs) {
    seconds += milliseconds(replayed.epoch) / 1000;
    series.points.push_back({seconds, value(epoch)});
  }
  return series;
}

Point residual_against_waste(const trace::Replayed& replayed) {
  const trace::Totals totals = trace::sum(replayed.epochs);
  const auto epochs = static_cast<double>(totals.epochs);
  return {static_cast<double>(totals.wasted_pages) / epochs,
          static_cast<double>(totals.residual_pages) / epochs};
}

void run(const Options& options) {
  trace::ReplayOptions replay = options.replay.options();
  const auto play = [&](const model::PolicyOptions& policy) {
    replay.policy = policy;
    return trace::replay(options.trace, replay);
  };
  const auto adaptive = play({});
  const auto bound = play({.kind = model::PolicyKind::kClairvoyant});
  const auto always = play({.kind = model::PolicyKind::kAlways});

  const auto residual = [](const epoch::EpochReport& e) {
    return static_cast<double>(e.residual_pages);
  };
  const auto waste = [](const epoch::EpochReport& e) {
    return static_cast<double>(e.wasted_pages);
  };
  const auto written = [](const epoch::EpochReport& e) {
    return static_cast<double>(e.written_pages);
  };
  const auto& header = adaptive.header;
  Svg svg((header.label().empty() ? options.trace : header.label()) + ", epochs of " +
          std::to_string(static_cast<long>(milliseconds(adaptive.epoch))) + " ms");
  svg.chart("Remus sends every page written in the epoch at its end", "seconds", "pages per epoch",
            {over_time("written (Remus's residual)", "#888888", adaptive, written),
             over_time("residual, adaptive", "#c03030", adaptive, residual)});
  svg.chart("What is left for the checkpoint, and what was sent in vain", "seconds",
            "pages per epoch",
            {over_time("residual, adaptive", "#c03030", adaptive, residual),
             over_time("wasted, adaptive", "#3060c0", adaptive, waste),
             over_time("residual, clairvoyant", "#30a050", bound, residual)});

  Series curve{"adaptive, by its early threshold", "#c03030", {}, true};
  for (const float below : {0.01f, 0.02f, 0.05f, 0.1f, 0.2f, 0.3f, 0.5f, 0.7f, 0.9f})
    curve.points.push_back(residual_against_waste(play({.send_early_below = below})));
  std::sort(curve.points.begin(), curve.points.end(), [](Point a, Point b) { return a.x < b.x; });
  Series age{"age, of 4 to 1 samples", "#3060c0", {}, true};
  for (const unsigned samples : {4u, 3u, 2u, 1u})
    age.points.push_back(
        residual_against_waste(play({.kind = model::PolicyKind::kAge, .age_samples = samples})));
  svg.chart("Residual against waste", "pages sent in vain per epoch", "residual pages per epoch",
            {curve,
             age,
             {"clairvoyant (the bound)", "#30a050", {residual_against_waste(bound)}, false},
             {"always", "#a07020", {residual_against_waste(always)}, false}});

  std::ofstream file(options.output);
  file << svg.finish();
  file.close();
  if (!file) throw Error("cannot write " + options.output);
}

}  // namespace

void add_plot(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("plot", "draw a trace's residual and waste as SVG");
  command->add_option("TRACE", options->trace, "the trace")->required();
  command->add_option("-o,--output", options->output, "the picture")->required()->type_name("FILE");
  options->replay.add_to(*command);
  command->callback([options] { run(*options); });
}

}  // namespace specrep::tools
