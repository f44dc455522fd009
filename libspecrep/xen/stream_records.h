#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

// Writers of the two stream formats in which Xen's own tools restore a domain:
// docs/specs/libxl-migration-stream.pandoc (version 2) and libxc-migration-stream.pandoc
// (version 3) in the Xen tree. Names and order follow those texts. Little-endian throughout,
// except where said.
namespace specrep::xen::stream {

using Bytes = std::vector<std::byte>;

// libxc record types.
enum class Libxc : std::uint32_t {
  kEnd = 0x0,
  kPageData = 0x1,
  kX86TscInfo = 0x8,
  kHvmContext = 0x9,
  kHvmParams = 0xa,
  kCheckpoint = 0xe,
  kStaticDataEnd = 0x10,
  kX86CpuidPolicy = 0x11,
  kX86MsrPolicy = 0x12,
};

// libxl record types.
enum class Libxl : std::uint32_t {
  kEnd = 0x0,
  kLibxcContext = 0x1,
  kEmulatorXenstoreData = 0x2,
  kEmulatorContext = 0x3,
  kCheckpointEnd = 0x4,
};

// Both formats have the same records: u32 type, u32 length of the body, body, zeros up to the
// next multiple of 8.
void append_record(Bytes& out, std::uint32_t type, std::span<const std::byte> body);

template <typename Type>
void append_record(Bytes& out, Type type, std::span<const std::byte> body = {}) {
  append_record(out, static_cast<std::uint32_t>(type), body);
}

template <typename T>
void append(Bytes& out, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

template <typename T>
std::span<const std::byte> as_bytes(const T& value) {
  return {reinterpret_cast<const std::byte*>(&value), sizeof value};
}

// libxl: the stream header, big-endian, and the LIBXC_CONTEXT record behind which the libxc
// stream begins.
void append_libxl_header(Bytes& out);

// libxl: EMULATOR_XENSTORE_DATA or EMULATOR_CONTEXT, for qemu-xen, emulator 0.
void append_emulator(Bytes& out, Libxl type, std::span<const std::byte> body);

// libxc: image header and domain header of an HVM or PVH domain.
void append_libxc_headers(Bytes& out, std::uint32_t xen_major, std::uint32_t xen_minor);

// libxc: PAGE_DATA's header up to and with the list of pfns. The data of `data_pages` pages
// must follow. Type NOTAB for all; with data_pages 0, XTAB ("no page here") for all.
// data_pages is 0 or pfns.size(). Needs no padding: pages are multiples of 8.
void append_page_data_head(Bytes& out, std::span<const std::uint64_t> pfns, std::size_t data_pages);

}  // namespace specrep::xen::stream
