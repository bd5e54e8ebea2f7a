# rosa_fill_libtorch_target: an INTERFACE target becomes the LibTorch in a folder. Used by the build and, installed
# beside rosaConfig.cmake, by whoever finds rosa.
function(rosa_fill_libtorch_target target folder)
  target_include_directories(${target} SYSTEM INTERFACE ${folder}/include ${folder}/include/torch/csrc/api/include)
  target_link_libraries(${target} INTERFACE ${folder}/lib/libtorch_cpu.so ${folder}/lib/libc10.so Threads::Threads)
  set_property(TARGET ${target} APPEND PROPERTY INTERFACE_LINK_OPTIONS -Wl,-rpath,${folder}/lib)
endfunction()
