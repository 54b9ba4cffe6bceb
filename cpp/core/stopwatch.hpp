#pragma once

#include <chrono>
#include <map>
#include <string>

namespace blocklmm {

// Where the time goes: seconds by part, for benchmarks.
class Stopwatch {
 public:
  void start() { last_ = Clock::now(); }
  // Adds the time since the last call, or since start(), to a part.
  void lap(const char* part) {
    const Clock::time_point now = Clock::now();
    seconds_[part] += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }
  void reset() { seconds_.clear(); }
  const std::map<std::string, double>& seconds() const { return seconds_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
  std::map<std::string, double> seconds_;
};

}  // namespace blocklmm
