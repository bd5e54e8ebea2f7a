# Every switch of the build, in one place.
option(ROSA_TORCH "Build what needs LibTorch (OFF: only base, automaton and kernels)" ON)
option(ROSA_CUDA "Build the CUDA kernels and the NCCL communicator" OFF)
option(ROSA_TESTS "Build the tests" ON)
option(ROSA_BENCH "Build the benchmarks" OFF)
option(ROSA_WERROR "Treat warnings as errors" OFF)
set(ROSA_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize= (address,undefined or thread)")
set(ROSA_LIBTORCH "" CACHE PATH "Folder that holds LibTorch's include/ and lib/ (launch/setup.sh finds it)")
set(ROSA_ARROW "" CACHE STRING "Folder of the wheel pyarrow, for Parquet (launch/setup.sh finds it; OFF: without Parquet)")
set(ROSA_CUDA_ARCHITECTURES "80-real;90-real;90-virtual" CACHE STRING "GPU architectures to compile for")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
