# The install target: libraries, headers, the program, and a package that find_package(rosa) finds.
# Headers lie below include/rosa/ as in the repository: #include "rosa/operator/rosa_operator.h".
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The program's own rooms are not for others.
get_property(libraries GLOBAL PROPERTY rosa_libraries)
list(FILTER libraries EXCLUDE REGEX "^rosa_launch")
install(TARGETS ${libraries} EXPORT rosaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
foreach(room base report text rosa models parallel training)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rosa COMPONENT development
          FILES_MATCHING PATTERN "*.h")
endforeach()
# The C interface stands alone: a shared library and one header, no package needed.
install(TARGETS rosa_c LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT program)
install(FILES ${CMAKE_SOURCE_DIR}/rosa/c/rosa_c.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
if(TARGET rosa_parquet)
  set_target_properties(rosa_parquet PROPERTIES INSTALL_RPATH "$ORIGIN" INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS rosa_parquet LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT program)
endif()
if(TARGET rosa)
  install(TARGETS rosa RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
  # An installed program finds LibTorch and MPI where it was built with, and a LibTorch beside itself.
  set_target_properties(rosa PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/rosa" INSTALL_RPATH_USE_LINK_PATH ON)
  if(ROSA_BUNDLE_LIBTORCH)
    file(GLOB libtorch_libraries ${ROSA_LIBTORCH}/lib/libtorch_cpu.so* ${ROSA_LIBTORCH}/lib/libc10.so*
         ${ROSA_LIBTORCH}/lib/libgomp.so* ${ROSA_LIBTORCH}/lib/libgfortran.so* ${ROSA_LIBTORCH}/../nvidia/cu*/lib/libcu[dp]*.so.*)
    install(FILES ${libtorch_libraries} DESTINATION ${CMAKE_INSTALL_LIBDIR}/rosa COMPONENT program)
  endif()
  # What the program says of itself, written by itself.
  if(NOT CMAKE_CROSSCOMPILING)
    set(shell_folder ${CMAKE_BINARY_DIR}/shell)
    file(MAKE_DIRECTORY ${shell_folder})
    add_custom_command(OUTPUT ${shell_folder}/rosa ${shell_folder}/rosa.1
                       COMMAND rosa completion bash > ${shell_folder}/rosa
                       COMMAND rosa man > ${shell_folder}/rosa.1
                       DEPENDS rosa)
    add_custom_target(rosa_shell_files ALL DEPENDS ${shell_folder}/rosa ${shell_folder}/rosa.1)
    install(FILES ${shell_folder}/rosa DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT program)
    install(FILES ${shell_folder}/rosa.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
  endif()
endif()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/rosa)
install(EXPORT rosaTargets NAMESPACE rosa:: DESTINATION ${package_folder} COMPONENT development)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/rosaConfig.cmake.in ${CMAKE_BINARY_DIR}/rosaConfig.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/rosaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/rosaConfig.cmake ${CMAKE_BINARY_DIR}/rosaConfigVersion.cmake
              ${CMAKE_SOURCE_DIR}/cmake/LibTorchTarget.cmake
        DESTINATION ${package_folder} COMPONENT development)
