# rosa_fill_libtorch_target: an INTERFACE target becomes the LibTorch in a folder. Used by the build and, installed
# beside rosaConfig.cmake, by whoever finds rosa.

# rosa_find_cuda_wheels(FOLDER): sets ROSA_LIBCUDART, ROSA_CUDA_HEADERS, ROSA_LIBNCCL and ROSA_NCCL_HEADERS (cache), which
# lie beside LibTorch where it comes from PyPI. NCCL must be the one that libtorch_cuda.so was built with.
function(rosa_find_cuda_wheels folder)
  get_filename_component(wheels ${folder}/.. ABSOLUTE)
  find_file(ROSA_LIBCUDART libcudart.so.13 PATHS ${wheels}/nvidia/cu13/lib ${folder}/lib NO_DEFAULT_PATH)
  find_path(ROSA_CUDA_HEADERS cuda_runtime_api.h PATHS ${wheels}/nvidia/cu13/include NO_DEFAULT_PATH)
  find_file(ROSA_LIBNCCL libnccl.so.2 PATHS ${wheels}/nvidia/nccl/lib ${folder}/lib NO_DEFAULT_PATH)
  find_path(ROSA_NCCL_HEADERS nccl.h PATHS ${wheels}/nvidia/nccl/include NO_DEFAULT_PATH)
  foreach(needed ROSA_LIBCUDART ROSA_CUDA_HEADERS ROSA_LIBNCCL ROSA_NCCL_HEADERS)
    if(NOT ${needed})
      message(FATAL_ERROR "${needed} was not found beside ROSA_LIBTORCH=${folder}: install the wheels that "
                          "cmake/Cuda.cmake lists, or set ${needed} to the one that this LibTorch was built with")
    endif()
  endforeach()
  if(NOT EXISTS ${folder}/lib/libtorch_cuda.so)
    message(FATAL_ERROR "ROSA_LIBTORCH=${folder} holds no lib/libtorch_cuda.so: this LibTorch was built without CUDA")
  endif()
endfunction()

# rosa_fill_cudart_target(TARGET): the CUDA runtime that LibTorch loads, so that there is one in the process.
function(rosa_fill_cudart_target target)
  get_filename_component(libraries ${ROSA_LIBCUDART} DIRECTORY)
  # For C++ only: nvcc brings headers of its own version.
  target_include_directories(${target} SYSTEM INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${ROSA_CUDA_HEADERS}>)
  target_link_libraries(${target} INTERFACE ${ROSA_LIBCUDART})
  set_property(TARGET ${target} APPEND PROPERTY INTERFACE_LINK_OPTIONS -Wl,-rpath,${libraries})
endfunction()

# rosa_fill_libtorch_target(TARGET FOLDER [CUDA]). CUDA: with LibTorch's CUDA libraries and NCCL.
function(rosa_fill_libtorch_target target folder)
  target_include_directories(${target} SYSTEM INTERFACE ${folder}/include ${folder}/include/torch/csrc/api/include)
  set_property(TARGET ${target} APPEND PROPERTY INTERFACE_LINK_OPTIONS -Wl,-rpath,${folder}/lib)
  if("CUDA" IN_LIST ARGN)
    rosa_find_cuda_wheels(${folder})
    rosa_fill_cudart_target(${target})
    get_filename_component(libraries ${ROSA_LIBNCCL} DIRECTORY)
    target_include_directories(${target} SYSTEM INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${ROSA_NCCL_HEADERS}>)
    set_property(TARGET ${target} APPEND PROPERTY INTERFACE_LINK_OPTIONS -Wl,-rpath,${libraries})
    # libtorch_cuda registers its kernels when it is loaded, so the linker must keep it though nothing names it.
    target_link_libraries(${target} INTERFACE
      -Wl,--push-state,--no-as-needed ${folder}/lib/libtorch_cuda.so -Wl,--pop-state ${folder}/lib/libc10_cuda.so
      ${ROSA_LIBNCCL})
  endif()
  target_link_libraries(${target} INTERFACE ${folder}/lib/libtorch_cpu.so ${folder}/lib/libc10.so Threads::Threads)
endfunction()
