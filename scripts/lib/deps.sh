# The Debian packages that building specrep takes, and checking it. To be sourced.

build_packages=(
  autoconf automake libtool pkg-config make g++ clang
  protobuf-compiler libprotobuf-dev libssl-dev libxxhash-dev libzstd-dev liblz4-dev libnl-route-3-dev libnl-genl-3-dev libsystemd-dev nbdkit nbdkit-plugin-dev
  libspdlog-dev nlohmann-json3-dev libtomlplusplus-dev libncurses-dev prometheus-cpp-dev
  libboost-dev libboost-test-dev libcli11-dev libxen-dev
  python3
)
# For scripts/check, in addition.
check_packages=(
  libclang-rt-14-dev clang-tidy-22 cppcheck shellcheck systemd iproute2
  chromium chromium-driver
  etcd-server nfs-ganesha-vfs qemu-utils
)

# install_missing PACKAGE...: installs those of the packages that are not there.
install_missing() {
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  local sudo=()
  ((EUID == 0)) || sudo=(sudo)
  "${sudo[@]}" apt-get -qq update
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --no-install-recommends "${missing[@]}"
}
