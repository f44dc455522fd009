#pragma once

// libxl's headers do not say themselves that they are C.
extern "C" {
#include <libxl.h>
#include <libxl_event.h>
#include <libxl_utils.h>
#include <xentoollog.h>
}
