# The install target: libraries, headers, the program, and a package that find_package(rosa) finds.
# Headers lie below include/rosa/ as in the repository: #include "rosa/operator/rosa_operator.h".
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The program's own rooms are not for others.
get_property(libraries GLOBAL PROPERTY rosa_libraries)
list(FILTER libraries EXCLUDE REGEX "^rosa_launch")
install(TARGETS ${libraries} EXPORT rosaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(room base report text rosa models parallel training)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rosa FILES_MATCHING PATTERN "*.h")
endforeach()
# The C interface stands alone: a shared library and one header, no package needed.
install(TARGETS rosa_c LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${CMAKE_SOURCE_DIR}/rosa/c/rosa_c.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET rosa_parquet)
  install(TARGETS rosa_parquet LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(TARGET rosa)
  install(TARGETS rosa RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/rosa)
install(EXPORT rosaTargets NAMESPACE rosa:: DESTINATION ${package_folder})
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/rosaConfig.cmake.in ${CMAKE_BINARY_DIR}/rosaConfig.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/rosaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/rosaConfig.cmake ${CMAKE_BINARY_DIR}/rosaConfigVersion.cmake
              ${CMAKE_SOURCE_DIR}/cmake/LibTorchTarget.cmake
        DESTINATION ${package_folder})
