# The CUDA side: the language, the runtime, and LibTorch's CUDA libraries with the NCCL beside them.
#
# LibTorch's CUDA libraries need these wheels (torch 2.15.0 pins them in its metadata; 2.5 GB to download, 4.1 GB on
# disk); launch/setup.sh puts them into the cache with
#   pip install --target FOLDER --no-deps torch==2.15.0
#   pip install --target FOLDER nvidia-cudnn-cu13==9.26.0.51 nvidia-cusparselt-cu13==0.8.1 nvidia-nccl-cu13==2.30.7
#     nvidia-nvshmem-cu13==3.7.2
#     "cuda-toolkit[cublas,cudart,cufft,cufile,cupti,cusolver,cusparse,nvjitlink,nvrtc,nvtx]==13.2.2"
# (torch's other dependencies, triton and Python packages, are not needed). Wheels lie side by side, and the RPATH of
# torch's libraries finds the others; NCCL must be the one beside torch, since libtorch_cuda.so needs its symbols.
# Nothing here needs a GPU: the program falls back to the CPU where there is none.
set(CMAKE_CUDA_STANDARD 17)  # no .cu file includes a LibTorch header, which would need C++20
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_ARCHITECTURES ${ROSA_CUDA_ARCHITECTURES})
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # one runtime in the process: torch's, where there is LibTorch
find_program(ROSA_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
if(NOT ROSA_NVCC)
  message(FATAL_ERROR "ROSA_CUDA=ON, but there is no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda: install the CUDA "
                      "toolkit (13.0 or newer for torch 2.15), load its module, or configure with -DROSA_CUDA=OFF")
endif()
if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${ROSA_NVCC})
endif()
enable_language(CUDA)

add_library(rosa_cudart INTERFACE)
if(ROSA_TORCH)
  rosa_fill_cudart_target(rosa_cudart)
else()
  find_package(CUDAToolkit REQUIRED)
  target_link_libraries(rosa_cudart INTERFACE CUDA::cudart)
endif()

target_compile_options(rosa_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>
  $<$<AND:$<BOOL:${ROSA_WERROR}>,$<COMPILE_LANGUAGE:CUDA>>:--Werror=all-warnings>)
