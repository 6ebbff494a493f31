// In the place of NIXL's header of this name, which includes Abseil's logging. The types need none of it.
#pragma once
#include <iostream>
#define NIXL_ERROR std::cerr
#define NIXL_ASSERT(condition) (void)(condition)
