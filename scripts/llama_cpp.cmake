# Read by llama.cpp's own build right after its project() line (CMAKE_PROJECT_<name>_INCLUDE).
#
# The product links the `llama` library alone. llama-cpp-python forces the helper library of llama.cpp's programs on in
# the CMake cache; a normal variable set here hides that entry, and more than half of the compile time is saved.
set(LLAMA_BUILD_COMMON OFF)
