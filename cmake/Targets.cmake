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

# Labels of tests: unit (default); mpi (started by mpirun; the default with RANKS); fault (things are made to fail, in
# minutes, in CI); slow (never in CI: launch/long_tests.sh). fault and slow tests are about time, so they run alone.
function(rosa_label_test name timeout)
  set_tests_properties(${name} PROPERTIES LABELS "${ARGN}" TIMEOUT ${timeout})
  if("fault" IN_LIST ARGN OR "slow" IN_LIST ARGN)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
  if("slow" IN_LIST ARGN)
    set_tests_properties(${name} PROPERTIES TIMEOUT 3600)
  endif()
endfunction()

# rosa_shell_test(NAME SCRIPT file [ARGUMENTS argument...] LABELS label...)
# One ctest entry for a script that tests the built program (tests/support/shell_test.sh); exit code 77 is "skipped".
function(rosa_shell_test name)
  cmake_parse_arguments(arg "" "SCRIPT" "ARGUMENTS;LABELS" ${ARGN})
  add_test(NAME ${name} COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/${arg_SCRIPT} ${arg_ARGUMENTS})
  rosa_label_test(${name} 600 ${arg_LABELS})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "ROSA_BUILD=${CMAKE_BINARY_DIR}")
endfunction()

# rosa_test(NAME [TORCH] SOURCES file... LINKS target... [RANKS n...] [LABELS label...])
# One GoogleTest program, one ctest entry (or one per number of RANKS, run by mpirun with tests/support/mpi_main.cpp).
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
  if(arg_RANKS)
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/mpi_main.cpp)
    target_link_libraries(${name} PRIVATE MPI::MPI_CXX)
    foreach(ranks IN LISTS arg_RANKS)
      add_test(NAME ${name}_${ranks} COMMAND ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe --bind-to none
               --mca mpi_yield_when_idle 1 -np ${ranks} $<TARGET_FILE:${name}>)
      rosa_label_test(${name}_${ranks} 300 mpi ${arg_LABELS})
      set_tests_properties(${name}_${ranks} PROPERTIES PROCESSORS 2)
    endforeach()
  else()
    target_link_libraries(${name} PRIVATE GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name})
    if("slow" IN_LIST arg_LABELS)
      add_dependencies(slow_tests ${name})
    endif()
    if(NOT arg_LABELS)
      set(arg_LABELS unit)
    endif()
    rosa_label_test(${name} 600 ${arg_LABELS})
  endif()
endfunction()
