# The target rosa_arrow: Apache Arrow C++ with its Parquet library, where there is one. Optional: without it `rosa data pack`
# refuses Parquet files and says why. It comes from the PyPI wheel pyarrow, which holds headers and libraries.
# ROSA_ARROW: the folder of the wheel's package, or another with include/ and lib/; OFF: none.
if(NOT DEFINED ROSA_ARROW OR ROSA_ARROW STREQUAL "")
  # In this order: the environment, then the cache that launch/setup.sh fills.
  set(cache_home $ENV{XDG_CACHE_HOME})
  if(NOT cache_home)
    set(cache_home $ENV{HOME}/.cache)
  endif()
  file(GLOB cached LIST_DIRECTORIES true ${cache_home}/rosa/pyarrow-*/pyarrow)
  if(DEFINED ENV{ROSA_ARROW})
    set(ROSA_ARROW $ENV{ROSA_ARROW})
  elseif(cached)
    list(SORT cached COMPARE NATURAL)
    list(GET cached -1 ROSA_ARROW)
  else()
    set(ROSA_ARROW OFF)
  endif()
endif()
# The wheel is not built with sanitizers, which see faults in a mixture of both.
if(ROSA_SANITIZE)
  set(ROSA_ARROW OFF)
endif()
if(NOT ROSA_ARROW)
  message(STATUS "Parquet: none; ROSA_ARROW names no Apache Arrow (launch/setup.sh downloads it)")
  return()
endif()

# A wheel holds libarrow.so.2600 and no libarrow.so.
file(GLOB arrow_libraries ${ROSA_ARROW}/libarrow.so* ${ROSA_ARROW}/lib/libarrow.so*)
file(GLOB parquet_libraries ${ROSA_ARROW}/libparquet.so* ${ROSA_ARROW}/lib/libparquet.so*)
if(NOT EXISTS ${ROSA_ARROW}/include/parquet/arrow/reader.h OR NOT arrow_libraries OR NOT parquet_libraries)
  message(FATAL_ERROR "ROSA_ARROW=${ROSA_ARROW} does not hold include/parquet/arrow/reader.h, libarrow.so and libparquet.so: "
                      "pass the folder of pyarrow, or -DROSA_ARROW=OFF to build without Parquet")
endif()
list(GET arrow_libraries 0 arrow_library)
list(GET parquet_libraries 0 parquet_library)
get_filename_component(arrow_folder ${arrow_library} DIRECTORY)
message(STATUS "Parquet: ${parquet_library}")

add_library(rosa_arrow INTERFACE)
target_include_directories(rosa_arrow SYSTEM INTERFACE ${ROSA_ARROW}/include)
target_link_libraries(rosa_arrow INTERFACE ${parquet_library} ${arrow_library})
# Beside whatever links it, or where it was found.
set_property(TARGET rosa_arrow APPEND PROPERTY INTERFACE_LINK_OPTIONS -Wl,-rpath,${arrow_folder})
