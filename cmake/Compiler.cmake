# Language level, warnings, sanitizers and the compiler cache.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(ROSA_CCACHE ccache)
if(ROSA_CCACHE)
  # The sloppiness lets ccache hit precompiled headers; the base directory lets clones share hits.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${ROSA_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${launcher})
endif()

add_library(rosa_warnings INTERFACE)
target_compile_options(rosa_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor>
  # g++ 12 sees overlapping copies in std::string's operator+ where there are none.
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>)
# Under sanitizers it warns of more that is not there, as of uninitialised members of std::regex.
if(ROSA_WERROR AND NOT ROSA_SANITIZE)
  target_compile_options(rosa_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(ROSA_SANITIZE)
  add_compile_options(-fsanitize=${ROSA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${ROSA_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # A precompiled header must be compiled again, not trusted by date, for ccache to hit it.
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,Clang>:-fno-pch-timestamp>)
endif()
