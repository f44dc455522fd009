// Each encoding of a page, both ways, against memcpy() of as many pages. Decoding includes the
// copy to the stage.

#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "libspecrep/wire/page_codec.h"
#include "tests/bench/measure.h"

namespace specrep::bench {
namespace {

using Data = std::vector<std::byte>;

constexpr std::size_t kPages = 4096;  // 16 MiB, a large residual
constexpr std::size_t kBytes = kPages * kPageBytes;

// Such as a log has.
Data text() {
  static constexpr const char* kWords[] = {"INFO ",      "WARN ",        "epoch=",    "request ",
                                           "GET ",       "/index.html ", "HTTP/1.1 ", "200 ",
                                           "served ",    "in ",          "ms ",       "client ",
                                           "10.0.3.17 ", "session ",     "opened",    " closed ",
                                           "user=",      "root ",        "2026-11-",  "\n"};
  std::mt19937_64 random(3);
  Data data;
  data.reserve(kBytes + 32);
  while (data.size() < kBytes) {
    std::string word = kWords[random() % std::size(kWords)];
    if (random() % 4 == 0) word += std::to_string(random() % 100'000);
    for (const char c : word) data.push_back(std::byte(c));
  }
  data.resize(kBytes);
  return data;
}

// The C++ library as it lies in memory: code, tables, data; over and over.
Data binary() {
  Data data;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::uintptr_t begin, end;
    char dash;
    std::string access;
    words >> std::hex >> begin >> dash >> end >> access;
    if (line.find("libstdc++") == std::string::npos || access[0] != 'r') continue;
    const auto* at = reinterpret_cast<const std::byte*>(begin);
    data.insert(data.end(), at, at + (end - begin));
  }
  if (data.empty()) throw std::runtime_error("libstdc++ is not in /proc/self/maps");
  for (std::size_t i = 0; data.size() < kBytes; ++i) data.push_back(data[i]);
  data.resize(kBytes);
  return data;
}

// Whole lines are replaced, spread over the page.
Data with_lines_replaced(Data data, std::size_t lines) {
  const Data other = noise(kBytes, 4);
  for (std::size_t page = 0; page < kPages; ++page) {
    for (std::size_t i = 0; i < lines; ++i) {
      const auto at = static_cast<std::ptrdiff_t>(page * kPageBytes + 64 / lines * i * 64);
      std::copy_n(other.begin() + at, 64, data.begin() + at);
    }
  }
  return data;
}

// A counter moves on in each of the lines.
Data with_words_changed(Data data, std::size_t lines) {
  for (std::size_t page = 0; page < kPages; ++page)
    for (std::size_t i = 0; i < lines; ++i)
      data[page * kPageBytes + 64 / lines * i * 64 + 16] ^= std::byte{1};
  return data;
}

// Two versions of memory between which the guest goes back and forth: both changes make the
// same differences, so that messages can be decoded as often as one likes.
struct Case {
  std::size_t cache_pages;
  wire::PageEncoding expected;  // of most pages
  Data a, b;
};

Case make_case(const std::string& name, std::size_t lines) {
  if (name == "zero") return {0, wire::ZERO, Data(kBytes), Data(kBytes)};
  if (name == "raw") return {0, wire::RAW, noise(kBytes, 1), noise(kBytes, 1)};
  if (name == "replaced") return {kPages, wire::RAW, noise(kBytes, 1), noise(kBytes, 2)};
  if (name == "lz4_text") return {0, wire::LZ4, text(), text()};
  if (name == "lz4_binary") return {0, wire::LZ4, binary(), binary()};
  const Data base = binary();
  if (name == "unchanged") return {kPages, wire::UNCHANGED, base, base};
  if (name == "delta_words") return {kPages, wire::DELTA, base, with_words_changed(base, lines)};
  return {kPages, wire::DELTA, noise(kBytes, 1), with_lines_replaced(noise(kBytes, 1), lines)};
}

std::vector<wire::Message> encode(wire::PageEncoder& encoder, const Data& data) {
  std::vector<wire::Message> messages;
  std::vector<Gfn> gfns(wire::kPagesPerMessageMax);
  for (Gfn first = 0; first < kPages; first += gfns.size()) {
    for (std::size_t i = 0; i < gfns.size(); ++i) gfns[i] = first + i;
    messages.push_back(encoder.encode(1, gfns, data.data() + first * kPageBytes));
  }
  return messages;
}

void report(benchmark::State& state, const wire::CodecCounters& counters,
            wire::PageEncoding expected) {
  const auto pages = static_cast<double>(counters.all_pages());
  state.counters["wire_share"] =
      static_cast<double>(counters.all_bytes()) / (pages * static_cast<double>(kPageBytes));
  state.counters["as_expected"] = static_cast<double>(counters.pages[expected]) / pages;
}

template <typename Work>
void run(benchmark::State& state, const Data& data, const Work& work) {
  Data copy(kBytes, std::byte{1});
  against_memcpy(state, kBytes, work, [&] {
    for (std::size_t at = 0; at < kBytes; at += kPageBytes)
      std::memcpy(copy.data() + at, data.data() + at, kPageBytes);
    benchmark::ClobberMemory();
  });
}

void encoding(benchmark::State& state, const std::string& name, std::size_t lines) {
  const Case c = make_case(name, lines);
  wire::PageEncoder encoder(c.cache_pages, true);
  encode(encoder, c.a);
  bool second = false;
  wire::CodecCounters counters;
  run(state, c.a, [&] {
    second = !second;
    const Data& data = second ? c.b : c.a;
    std::array<Gfn, wire::kPagesPerMessageMax> gfns;
    for (Gfn first = 0; first < kPages; first += gfns.size()) {
      for (std::size_t i = 0; i < gfns.size(); ++i) gfns[i] = first + i;
      benchmark::DoNotOptimize(encoder.encode(1, gfns, data.data() + first * kPageBytes));
      counters += encoder.last();
    }
  });
  report(state, counters, c.expected);
}

void decoding(benchmark::State& state, const std::string& name, std::size_t lines) {
  const Case c = make_case(name, lines);
  wire::PageEncoder encoder(c.cache_pages, true);
  const auto first = encode(encoder, c.a);
  const auto before = encoder.total();
  const auto change = encode(encoder, c.b);
  wire::CodecCounters counters = encoder.total();
  for (std::size_t i = 0; i < wire::kPageEncodings; ++i) {
    counters.pages[i] -= before.pages[i];
    counters.bytes[i] -= before.bytes[i];
  }

  wire::PageDecoder decoder(kPages, c.cache_pages);
  Data stage(kBytes, std::byte{1});
  const std::function<void(Gfn, const std::byte*)> put = [&](Gfn gfn, const std::byte* page) {
    std::memcpy(stage.data() + gfn * kPageBytes, page, kPageBytes);
  };
  for (const auto& message : first) decoder.decode(message, put);
  run(state, c.a, [&] {
    for (const auto& message : change) decoder.decode(message, put);
    benchmark::ClobberMemory();
  });
  report(state, counters, c.expected);
}

void add(const std::string& name, std::size_t lines = 0) {
  const std::string full = lines ? name + "/" + std::to_string(lines) : name;
  benchmark::RegisterBenchmark(("encode/" + full).c_str(), encoding, name, lines)
      ->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark(("decode/" + full).c_str(), decoding, name, lines)
      ->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace specrep::bench

int main(int argc, char** argv) {
  using specrep::bench::add;
  add("zero");
  add("unchanged");
  for (const std::size_t lines : {1, 4, 16, 32}) add("delta_lines", lines);
  for (const std::size_t lines : {1, 4, 16, 64}) add("delta_words", lines);
  add("lz4_text");
  add("lz4_binary");
  add("raw");
  add("replaced");
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
