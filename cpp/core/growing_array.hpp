#pragma once

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "types.hpp"

namespace blocklmm {

// Numbers whose count grows, zero to begin with. Large arrays grow in place where the system can
// remap their pages (realloc), so that there are never two of them.
class GrowingArray {
 public:
  GrowingArray() = default;
  GrowingArray(const GrowingArray& other) {
    reserve(other.size_);
    std::copy_n(other.data_, other.size_, data_);
    size_ = other.size_;
  }
  GrowingArray(GrowingArray&& other) noexcept { swap(other); }
  GrowingArray& operator=(GrowingArray other) noexcept {
    swap(other);
    return *this;
  }
  ~GrowingArray() { std::free(data_); }

  std::size_t size() const { return size_; }
  const double* data() const { return data_; }
  double* data() { return data_; }

  void resize(std::size_t size) {
    if (size > capacity_) reserve(std::max(size, capacity_ + capacity_ / 2));
    if (size > size_) std::fill(data_ + size_, data_ + size, 0.0);
    size_ = size;
  }
  // Gives back what is not used.
  void shrink() {
    if (size_ < capacity_) reserve(size_);
  }

 private:
  void swap(GrowingArray& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  void reserve(std::size_t capacity) {
    void* grown = std::realloc(data_, std::max<std::size_t>(capacity, 1) * sizeof(double));
    if (!grown) throw std::bad_alloc();
    data_ = static_cast<double*>(grown);
    capacity_ = capacity;
  }

  double* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace blocklmm
