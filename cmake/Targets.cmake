# rosa_library and rosa_test: how a room and its tests are declared.

# rosa_library(NAME [TORCH] SOURCES file... [LINKS target...] [PRIVATE_LINKS target...])
# One static library for one room. TORCH: links LibTorch and shares its precompiled header.
function(rosa_library name)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(rosa_${name} STATIC ${arg_SOURCES})
  add_library(rosa::${name} ALIAS rosa_${name})
  set_target_properties(rosa_${name} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY rosa_libraries rosa_${name})
  target_include_directories(rosa_${name} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<INSTALL_INTERFACE:include/rosa>)
  target_link_libraries(rosa_${name} PUBLIC ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS} $<BUILD_INTERFACE:rosa_warnings>)
  if(arg_TORCH)
    # An installed rosa brings its own target for the same LibTorch (cmake/rosaConfig.cmake.in).
    target_link_libraries(rosa_${name} PUBLIC $<BUILD_INTERFACE:rosa_libtorch> $<INSTALL_INTERFACE:rosa::libtorch>)
    target_precompile_headers(rosa_${name} REUSE_FROM rosa_torch_pch)
  endif()
endfunction()

# rosa_test(NAME [TORCH] SOURCES file... LINKS target... [RANKS n...] [LABELS label...])
# One GoogleTest program, one ctest entry (and one more per number of RANKS, run by mpirun with tests/support/mpi_main.cpp).
function(rosa_test name)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINKS;RANKS;LABELS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINKS} GTest::gtest GTest::gmock rosa_warnings)
  target_compile_definitions(${name} PRIVATE ROSA_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data" ROSA_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
    ROSA_BINARY_DIR="${CMAKE_BINARY_DIR}")
  if(arg_TORCH)
    target_link_libraries(${name} PRIVATE rosa_libtorch)
    # The precompiled header is made with -fPIC, and g++ takes it only where that is so, not with -fPIE.
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE -fPIC)
    target_precompile_headers(${name} REUSE_FROM rosa_torch_pch)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(arg_RANKS)
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/mpi_main.cpp)
    target_link_libraries(${name} PRIVATE MPI::MPI_CXX)
    foreach(ranks IN LISTS arg_RANKS)
      add_test(NAME ${name}_${ranks} COMMAND ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe --bind-to none
               --mca mpi_yield_when_idle 1 -np ${ranks} $<TARGET_FILE:${name}>)
      set_tests_properties(${name}_${ranks} PROPERTIES LABELS "mpi" PROCESSORS 2 TIMEOUT 300)
    endforeach()
  else()
    target_link_libraries(${name} PRIVATE GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT 600)
  endif()
endfunction()
