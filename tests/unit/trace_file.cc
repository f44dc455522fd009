// The trace file: what is read is what was written, or an error.
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "libspecrep/error.h"
#include "libspecrep/trace/trace.h"

using namespace specrep;
using namespace specrep::trace;

namespace {

// A file that goes with the test.
struct File {
  File() : path("trace-test-" + std::to_string(getpid()) + ".trace") {}
  ~File() { std::filesystem::remove(path); }
  std::string read() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& bytes) const {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  std::string path;
};

TraceHeader header_of(Gfn gfn_count) {
  TraceHeader header;
  header.set_guest_name("g");
  header.set_kind(wire::PVH);
  header.set_gfn_count(gfn_count);
  header.set_epoch_ms(100);
  header.set_finest_us(1000);
  header.set_label("nothing");
  return header;
}

std::vector<Sample> read_all(const std::string& path) {
  Reader reader(path);
  std::vector<Sample> samples;
  for (Sample sample; reader.next(sample);) samples.push_back(sample);
  Sample none;
  BOOST_TEST(!reader.next(none));
  return samples;
}

void write_all(const std::string& path, const std::vector<Sample>& samples, Gfn gfn_count) {
  Writer writer(path, header_of(gfn_count));
  for (const Sample& sample : samples) writer.append(sample);
  writer.finish();
}

std::vector<Sample> few_samples() {
  return {
      {1000, 1003, 70, {{0, 1, 1}, {1, 0, 0}, {99, ~std::uint64_t{0}, kPackedMax}}},
      {2000, 0, 4'000'000'000, {}},
      {3000, 998, 71, {{5, 0x8000000000000001, kZeroPage}, {7, 0, kZeroPage}}},
  };
}

// A block as the format describes it, with everything right but what is in it.
std::string block(std::uint32_t kind, const std::string& data, std::uint64_t number) {
  std::string stored(ZSTD_compressBound(data.size()), '\0');
  stored.resize(ZSTD_compress(stored.data(), stored.size(), data.data(), data.size(), 1));
  const std::uint32_t head[] = {kind, static_cast<std::uint32_t>(stored.size()),
                                static_cast<std::uint32_t>(data.size())};
  const std::uint64_t sum = XXH3_64bits_withSeed(stored.data(), stored.size(),
                                                 XXH3_64bits_withSeed(head, sizeof head, number));
  std::string out(reinterpret_cast<const char*>(head), sizeof head);
  out.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  return out + stored;
}

std::string file_head(Gfn gfn_count) {
  File file;
  write_all(file.path, {}, gfn_count);
  const std::string bytes = file.read();
  std::uint32_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data() + 12, sizeof header_bytes);
  return bytes.substr(0, 16 + header_bytes + 8);
}

bool names_the_file(const Error& error) {
  return std::string(error.what()).find("trace-test-") != std::string::npos;
}

void expect_error(const File& file, const std::string& bytes) {
  file.write(bytes);
  BOOST_CHECK_EXCEPTION(read_all(file.path), Error, names_the_file);
}

// One sample of one page, by hand.
std::string one_page(char gfn, const std::string& mask, char packed) {
  return std::string{1, 10, 10, 1, 1, gfn} + mask + packed;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(trace_file)

BOOST_AUTO_TEST_CASE(grid_is_dense_at_the_end_of_an_epoch) {
  const std::vector<std::uint64_t> due = {2000, 6000, 8000, 9000, 10000};
  BOOST_TEST(grid_us(10, 1000) == due, boost::test_tools::per_element());
  BOOST_TEST(grid_us(100, 1000).size() == 8u);
  BOOST_TEST(grid_us(8, 1000).front() == 4000u);  // never at an epoch's very start
  BOOST_TEST(grid_us(1, 5000).size() == 1u);
  BOOST_CHECK_THROW(grid_us(0, 1000), Error);
  BOOST_CHECK_THROW(grid_us(100, 0), Error);
}

BOOST_AUTO_TEST_CASE(round_trip) {
  const File file;
  write_all(file.path, few_samples(), 100);
  BOOST_TEST((read_all(file.path) == few_samples()));
  const Reader reader(file.path);
  BOOST_TEST(reader.header().guest_name() == "g");
  BOOST_TEST(reader.header().epoch_ms() == 100u);
  BOOST_TEST(reader.file_bytes() == file.read().size());
}

BOOST_AUTO_TEST_CASE(empty_trace) {
  const File file;
  write_all(file.path, {}, 100);
  BOOST_TEST(read_all(file.path).empty());
}

BOOST_AUTO_TEST_CASE(many_blocks) {
  const File file;
  std::vector<Sample> samples;
  std::uint64_t random = 1;
  for (std::uint64_t i = 0; i < 50'000; ++i) {
    Sample sample{i * 10, 10, 1, {}};
    for (Gfn gfn = i % 7; gfn < 1'000'000 && i % 100 == 0; gfn += 1 + random % 5000) {
      random = random * 6364136223846793005 + 1442695040888963407;
      const std::uint64_t lines = random & random << 7 & random << 21;
      sample.pages.push_back({gfn, lines, static_cast<std::uint8_t>(std::popcount(lines) * 3)});
    }
    samples.push_back(std::move(sample));
  }
  write_all(file.path, samples, 1'000'000);
  BOOST_TEST((read_all(file.path) == samples));
}

BOOST_AUTO_TEST_CASE(truncated_anywhere) {
  const File file;
  write_all(file.path, few_samples(), 100);
  const std::string whole = file.read();
  for (std::size_t length = 0; length < whole.size(); ++length)
    expect_error(file, whole.substr(0, length));
  expect_error(file, whole + '\0');
}

BOOST_AUTO_TEST_CASE(not_finished) {
  const File file;
  {
    Writer writer(file.path, header_of(100));
    writer.append(few_samples()[0]);
  }
  BOOST_CHECK_EXCEPTION(read_all(file.path), Error, names_the_file);
}

BOOST_AUTO_TEST_CASE(any_byte_changed) {
  const File file;
  write_all(file.path, few_samples(), 100);
  const std::string whole = file.read();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xff}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      expect_error(file, bytes);
    }
  }
}

BOOST_AUTO_TEST_CASE(hostile_blocks) {
  const File file;
  const std::string head = file_head(100);
  const std::string mask("\x01\0\0\0\0\0\0\0", 8), none(8, '\0');
  const std::string totals = block(2, {1, 1, 10}, 2);
  // The hand-made file is right to begin with.
  file.write(head + block(1, one_page(99, mask, 4), 1) + totals);
  const std::vector<Sample> expected = {{10, 10, 1, {{99, 1, 4}}}};
  BOOST_TEST((read_all(file.path) == expected));

  const auto expect = [&](const std::string& data) {
    expect_error(file, head + block(1, data, 1) + totals);
  };
  expect(one_page(100, mask, 4));               // a gfn too high
  expect(one_page(99, mask, 5));                // more than its lines
  expect(one_page(99, none, 1));                // costs, but did not change
  expect(one_page(99, mask, 4) + '\0');         // too long
  expect(one_page(99, mask, 4).substr(0, 13));  // too short
  expect("");                                   // nothing
  expect({0});                                  // no samples
  const std::string huge("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
  const std::string overflow("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
  expect(huge + one_page(99, mask, 4));                      // 2^64-1 samples
  expect(overflow + one_page(99, mask, 4));                  // a varint beyond 64 bits
  expect(std::string{1} + huge + std::string{1, 1, 0});      // agrees with nothing in the totals
  expect(std::string{2, 10} + huge + std::string(8, '\0'));  // time overflows
  expect(std::string{2, 10, 0, 1, 1, 1, 1, 0, 0});           // twice the same time
  expect(std::string{1, 10} + huge + std::string{1, 0});     // run time beyond 32 bits
  expect(std::string{1, 10, 10, 1} + huge + mask + mask);    // 2^64-1 pages
  expect(std::string{2, 10, 10, 1, 1, 1, 1} + huge + huge + mask);
  expect(std::string{1, 10, 10, 1, 1} + huge + mask + '\0');  // gfn 2^64-1
  // Two pages of which the second overflows behind the highest gfn.
  expect(std::string{1, 10, 10, 1, 2, 99, 0} + std::string(18, '\0'));
  expect(std::string{1, 10, 10, 1, 2, 98} + huge + std::string(18, '\0'));

  const std::string good = block(1, one_page(99, mask, 4), 1);
  expect_error(file, head + good);                            // no totals
  expect_error(file, head + good + block(2, {1, 2, 10}, 2));  // wrong totals
  expect_error(file, head + good + block(2, {1, 1, 9}, 2));
  expect_error(file, head + good + block(2, {1, 1, 10, 0}, 2));
  expect_error(file, head + good + block(2, "", 2));
  expect_error(file, head + good + block(3, {1, 1, 10}, 2));  // an unknown block
  expect_error(file, head + good + totals + totals);          // something behind
  expect_error(file, head + totals + good);                   // out of order
}

BOOST_AUTO_TEST_CASE(hostile_lengths) {
  const File file;
  const std::string head = file_head(100);
  // Lengths that nothing backs: refused by what the file has, not by what memory there is.
  for (const std::uint32_t stored : {0u, 1u, 0x7fffffffu, 0xffffffffu}) {
    for (const std::uint32_t unpacked : {0u, 1u, 0x7fffffffu, 0xffffffffu}) {
      const std::uint32_t lengths[] = {1, stored, unpacked};
      std::string bytes = head + std::string(reinterpret_cast<const char*>(lengths), 12);
      const std::uint64_t sum =
          XXH3_64bits_withSeed("x", stored & 1 ? 1 : 0, XXH3_64bits_withSeed(lengths, 12, 1));
      bytes.append(reinterpret_cast<const char*>(&sum), sizeof sum);
      expect_error(file, bytes + "x");
    }
  }
  // A frame that unpacks to more than its block says.
  std::string lying = block(1, std::string(1'000'000, '\0'), 1);
  std::uint32_t lengths[3];
  std::memcpy(lengths, lying.data(), sizeof lengths);
  lengths[2] = 100;
  const std::uint64_t sum = XXH3_64bits_withSeed(lying.data() + 20, lying.size() - 20,
                                                 XXH3_64bits_withSeed(lengths, 12, 1));
  std::memcpy(lying.data(), lengths, sizeof lengths);
  std::memcpy(lying.data() + 12, &sum, sizeof sum);
  expect_error(file, head + lying);
  // A header longer than any.
  std::string long_header = head;
  std::memset(long_header.data() + 12, 0xff, 4);
  expect_error(file, long_header);
}

BOOST_AUTO_TEST_CASE(writer_refuses_what_the_reader_would) {
  const File file;
  Writer writer(file.path, header_of(100));
  BOOST_CHECK_THROW(writer.append({10, 1, 1, {{5, 0, 0}, {5, 0, 0}}}), Error);
  BOOST_CHECK_THROW(writer.append({10, 1, 1, {{5, 0, 0}, {4, 0, 0}}}), Error);
  BOOST_CHECK_THROW(writer.append({10, 1, 1, {{100, 0, 0}}}), Error);
  BOOST_CHECK_THROW(writer.append({10, 1, 1, {{5, 0, 1}}}), Error);
  writer.append({10, 1, 1, {}});
  BOOST_CHECK_THROW(writer.append({10, 1, 1, {}}), Error);
  writer.finish();
  BOOST_TEST(read_all(file.path).size() == 1u);
  BOOST_CHECK_EXCEPTION(Writer("/nowhere/trace-test-x", header_of(1)), Error, names_the_file);
  BOOST_CHECK_EXCEPTION(Reader("/nowhere/trace-test-x"), Error, names_the_file);
  BOOST_CHECK_THROW(Reader("/"), Error);
  BOOST_CHECK_THROW(Reader("/dev/null"), Error);
}

BOOST_AUTO_TEST_SUITE_END()
