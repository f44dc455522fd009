// What tells that both hosts' paths lead to one and the same storage.
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "folder.h"
#include "libspecrep/disk/shared_storage.h"
#include "libspecrep/error.h"

namespace specrep::disk {
namespace {

namespace fs = std::filesystem;

struct Devices : Folder {
  void put(const fs::path& file, const std::string& line) const {
    fs::create_directories((path / file).parent_path());
    std::ofstream(path / file) << line << "\n";
  }
  std::string name(const fs::path& device) const { return worldwide_name(path / device); }
};

BOOST_AUTO_TEST_SUITE(disk_shared)

BOOST_AUTO_TEST_CASE(a_file_that_both_reach_is_recognized_also_by_another_path) {
  const Devices folder;
  folder.put("disk", "");
  fs::create_symlink(folder.path / "disk", folder.path / "link");
  const std::string disk = folder.path / "disk", link = folder.path / "link";
  std::string text;
  {
    const StorageMark mark(link);
    text = mark.text();
    BOOST_CHECK_THROW(check_not_shared(disk, text), Error);
    BOOST_CHECK_THROW(check_not_shared(link, text), Error);
  }
  check_not_shared(disk, text);
  BOOST_TEST(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 2);
}

BOOST_AUTO_TEST_CASE(other_files_are_not) {
  const Devices here, there;
  here.put("disk", "");
  here.put("other", "");
  there.put("disk", "");
  const StorageMark mark(here.path / "disk");
  BOOST_TEST(!mark.text().empty());
  check_not_shared(here.path / "other", mark.text());
  check_not_shared(there.path / "disk", mark.text());
}

BOOST_AUTO_TEST_CASE(a_mark_does_not_lead_anywhere_else) {
  const Devices folder;
  folder.put("disk", "");
  folder.put("other", "");
  for (const char* mark : {"file /../other", "file ", "file 0123456789abcdef0123456789abcde/"})
    BOOST_CHECK_THROW(check_not_shared(folder.path / "disk", mark), Error);
  for (const char* mark : {"", "device naa.1", "something else"})
    check_not_shared(folder.path / "disk", mark);
}

BOOST_AUTO_TEST_CASE(devices_are_called_by_their_worldwide_names) {
  const Devices sys;
  sys.put("sda/device/wwid", "naa.600140512345678");
  sys.put("sda/sda1/partition", "1");
  sys.put("sda/sda1/start", "2048");
  sys.put("nvme0n1/wwid", "eui.0025385b71b0");
  sys.put("emulated/device/wwid", "t10.ATA     QEMU HARDDISK   QM00001  ");
  BOOST_TEST(sys.name("sda") == "naa.600140512345678");
  BOOST_TEST(sys.name("sda/sda1") == "naa.600140512345678+2048");
  BOOST_TEST(sys.name("nvme0n1") == "eui.0025385b71b0");
  BOOST_TEST(sys.name("emulated") == "");
  BOOST_TEST(sys.name("none") == "");
}

// Hosts made of one image have volumes with the same uuids on disks of their own.
BOOST_AUTO_TEST_CASE(mapped_devices_are_called_by_what_they_lie_on_too) {
  const Devices sys;
  for (const char* path : {"sda", "sdb"}) sys.put(fs::path(path) / "device/wwid", "naa.1");
  sys.put("sdc/device/wwid", "naa.2");
  sys.put("vda/serial", "");
  const auto mapped = [&](const std::string& name, const std::vector<std::string>& slaves) {
    sys.put(name + "/dm/uuid", "LVM-xyz");
    fs::create_directories(sys.path / name / "slaves");
    for (const std::string& slave : slaves)
      fs::create_directory_symlink(sys.path / slave, sys.path / name / "slaves" / slave);
    return sys.name(name);
  };
  BOOST_TEST(mapped("dm-0", {"sda", "sdb"}) == "LVM-xyz(naa.1)");
  BOOST_TEST(mapped("dm-1", {"sdc"}) == "LVM-xyz(naa.2)");
  BOOST_TEST(mapped("dm-2", {"dm-0", "sdc"}) == "LVM-xyz(LVM-xyz(naa.1))(naa.2)");
  BOOST_TEST(mapped("dm-3", {"sda", "vda"}) == "");
  BOOST_TEST(mapped("dm-4", {}) == "");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::disk
