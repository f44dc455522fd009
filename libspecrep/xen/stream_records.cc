#include "libspecrep/xen/stream_records.h"

#include <endian.h>

#include "libspecrep/guest/page.h"

namespace specrep::xen::stream {

namespace {

constexpr std::size_t kAlign = 8;

constexpr std::uint64_t kLibxlIdent = 0x4c6962786c466d74;  // "LibxlFmt"
constexpr std::uint32_t kLibxlVersion = 2;
constexpr std::uint32_t kEmulatorQemuUpstream = 2;

constexpr std::uint64_t kLibxcMarker = ~std::uint64_t{0};
constexpr std::uint32_t kLibxcId = 0x58454e46;  // "XENF"
constexpr std::uint32_t kLibxcVersion = 3;
constexpr std::uint32_t kDomainTypeHvm = 2;
constexpr std::uint16_t kPageShift = 12;

// PAGE_DATA keeps a page's type in bits 60 to 63 of its pfn.
constexpr std::uint64_t kTypeNotab = 0;
constexpr std::uint64_t kTypeXtab = std::uint64_t{0xf} << 60;

}  // namespace

void append_record(Bytes& out, std::uint32_t type, std::span<const std::byte> body) {
  append(out, type);
  append(out, static_cast<std::uint32_t>(body.size()));
  out.insert(out.end(), body.begin(), body.end());
  out.resize(out.size() + (kAlign - body.size() % kAlign) % kAlign);
}

void append_libxl_header(Bytes& out) {
  append(out, htobe64(kLibxlIdent));
  append(out, htobe32(kLibxlVersion));
  append(out, std::uint32_t{0});  // options: little-endian
  append_record(out, Libxl::kLibxcContext);
}

void append_emulator(Bytes& out, Libxl type, std::span<const std::byte> body) {
  Bytes record;
  append(record, kEmulatorQemuUpstream);
  append(record, std::uint32_t{0});  // index
  record.insert(record.end(), body.begin(), body.end());
  append_record(out, type, record);
}

void append_libxc_headers(Bytes& out, std::uint32_t xen_major, std::uint32_t xen_minor) {
  // Image header: marker, id and version big-endian, options (bit 0: big-endian), reserved.
  append(out, kLibxcMarker);
  append(out, htobe32(kLibxcId));
  append(out, htobe32(kLibxcVersion));
  append(out, std::uint16_t{0});
  append(out, std::uint16_t{0});
  append(out, std::uint32_t{0});
  // Domain header.
  append(out, kDomainTypeHvm);
  append(out, kPageShift);
  append(out, std::uint16_t{0});
  append(out, xen_major);
  append(out, xen_minor);
}

void append_page_data_head(Bytes& out, std::span<const std::uint64_t> pfns,
                           std::size_t data_pages) {
  append(out, static_cast<std::uint32_t>(Libxc::kPageData));
  append(out, static_cast<std::uint32_t>(8 + 8 * pfns.size() + kPageBytes * data_pages));
  append(out, static_cast<std::uint32_t>(pfns.size()));
  append(out, std::uint32_t{0});
  for (const auto pfn : pfns) append(out, pfn | (data_pages ? kTypeNotab : kTypeXtab));
}

}  // namespace specrep::xen::stream
