#include "libspecrep/replica/stage.h"

#include <algorithm>
#include <cstring>

namespace specrep::replica {

void Stage::put(Gfn gfn, const std::byte* data) {
  const auto [entry, inserted] = slot_of_.try_emplace(gfn, slot_of_.size());
  if (inserted && entry->second == slabs_.size() * kSlabPages)
    slabs_.push_back(std::make_unique<std::byte[]>(kSlabPages * kPageBytes));
  std::memcpy(slot(entry->second), data, kPageBytes);
}

void Stage::clear() {
  slot_of_.clear();
  slabs_.clear();
}

std::vector<Stage::Page> Stage::sorted() const {
  std::vector<Page> pages;
  pages.reserve(slot_of_.size());
  for (const auto& [gfn, index] : slot_of_) pages.push_back({gfn, slot(index)});
  std::sort(pages.begin(), pages.end(), [](const Page& a, const Page& b) { return a.gfn < b.gfn; });
  return pages;
}

}  // namespace specrep::replica
