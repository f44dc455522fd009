#include "libspecrep/pool/service_frame.h"

#include "libspecrep/error.h"

namespace specrep::pool {

namespace {

constexpr std::size_t kHeadBytes = 5;

}  // namespace

std::vector<std::byte> encode(const ServiceFrame& frame) {
  std::vector<std::byte> encoded = {std::byte(frame.kind)};
  for (int shift = 0; shift < 32; shift += 8)
    encoded.push_back(std::byte(frame.bytes.size() >> shift));
  const auto bytes = std::as_bytes(std::span(frame.bytes));
  encoded.insert(encoded.end(), bytes.begin(), bytes.end());
  return encoded;
}

void ServiceFrameDecoder::feed(std::span<const std::byte> bytes, std::vector<ServiceFrame>& out) {
  unparsed_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::size_t at = 0;
  while (unparsed_.size() - at >= kHeadBytes) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(unparsed_[at + i]); };
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length |= std::size_t{byte(1 + i)} << (8 * i);
    if (byte(0) < 1 || byte(0) > 6 || length > kFrameBytesMax)
      throw Error("the other side does not follow the protocol of services");
    if (unparsed_.size() - at - kHeadBytes < length) break;
    out.push_back({ServiceFrame::Kind(byte(0)), unparsed_.substr(at + kHeadBytes, length)});
    at += kHeadBytes + length;
  }
  unparsed_.erase(0, at);
}

}  // namespace specrep::pool
