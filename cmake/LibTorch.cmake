# The target rosa_libtorch: LibTorch's headers and libraries.
# The wheel's own find_package(Torch) insists on a CUDA toolkit even for a CPU program, hence this small target.
if(NOT ROSA_LIBTORCH)
  # In this order: the environment, then the cache that launch/setup.sh fills.
  set(cache_home $ENV{XDG_CACHE_HOME})
  if(NOT cache_home)
    set(cache_home $ENV{HOME}/.cache)
  endif()
  if(ROSA_CUDA)
    file(GLOB cached LIST_DIRECTORIES true ${cache_home}/rosa/libtorch-*-cuda/torch)
  else()
    file(GLOB cached LIST_DIRECTORIES true ${cache_home}/rosa/libtorch-*-cpu/torch)
  endif()
  if(DEFINED ENV{ROSA_LIBTORCH})
    set(ROSA_LIBTORCH $ENV{ROSA_LIBTORCH})
  elseif(cached)
    list(SORT cached COMPARE NATURAL)
    list(GET cached -1 ROSA_LIBTORCH)
  else()
    message(FATAL_ERROR "ROSA_LIBTORCH is not set: pass the folder that holds LibTorch's include/ and lib/, for instance "
                        "-DROSA_LIBTORCH=$(python3 -c 'import torch,os;print(os.path.dirname(torch.__file__))'), "
                        "or let launch/setup.sh download it")
  endif()
endif()
if(NOT EXISTS ${ROSA_LIBTORCH}/include/ATen/ATen.h)
  message(FATAL_ERROR "ROSA_LIBTORCH=${ROSA_LIBTORCH} holds no include/ATen/ATen.h")
endif()

include(${CMAKE_CURRENT_LIST_DIR}/LibTorchTarget.cmake)
add_library(rosa_libtorch INTERFACE)
if(ROSA_CUDA)
  rosa_fill_libtorch_target(rosa_libtorch ${ROSA_LIBTORCH} CUDA)
else()
  rosa_fill_libtorch_target(rosa_libtorch ${ROSA_LIBTORCH})
endif()

# One precompiled header for every file that includes ATen (8 s a file without it, 1.5 s with it).
file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cpp "// Owns the precompiled header of rosa_torch_pch.\n")
add_library(rosa_torch_pch OBJECT ${CMAKE_BINARY_DIR}/torch_pch.cpp)
target_link_libraries(rosa_torch_pch PRIVATE rosa_libtorch rosa_warnings)
target_precompile_headers(rosa_torch_pch PRIVATE
  <ATen/ATen.h> <ATen/Parallel.h> <torch/csrc/autograd/autograd.h> <torch/csrc/autograd/custom_function.h>)
